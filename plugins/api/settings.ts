import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { Ref } from '../../schemas/kit.ts'
import {
  PurgeAnswer, RetentionQuery, RetentionView, SettingsChange, SettingsChanged, SettingsView,
  type ChangeableSettings, type SettingView
} from '../../schemas/settings.ts'
import { describeSettings, type DescribedSetting } from '../../src/config/describe.ts'
import type { RuntimeName, RuntimeState } from '../../src/config/runtime-settings.ts'
import { Settings } from '../../src/config/settings.ts'
import { ServiceError } from '../../src/errors.ts'
import type { House } from '../../src/house.ts'
import { iso } from '../../src/iso.ts'
import { purgeInterval } from '../../src/jobs/retention.ts'
import { version } from '../../src/version.ts'

export interface SettingsOptions {
  readonly house: Pick<House, 'config' | 'sources' | 'runtime' | 'retention' | 'log'>
}

const path = '/api/v1/settings'
const tags = ['Settings']
const administering = { access: { scope: 'queue:admin' } } as const
/** Jobs that one call removes. */
const purgedAtOnce = 1000
/** Of what a client keeps for itself under one name, in letters of JSON. */
const longestOwn = 4096
const mostOwn = 200

const wireNames: Readonly<Record<RuntimeName, string>> = {
  queueProcessing: 'queueProcessingEnabled', retentionDays: 'retention_days', retentionJobs: 'retention_jobs'
}

/** What is in force and from where; what can be changed while the service runs; removing old jobs. */
const settingsRoutes: FastifyPluginAsyncTypebox<SettingsOptions> = async (app, { house }) => {
  const { config, sources, runtime, retention, log } = house

  const changed = { 200: { ...Ref(SettingsChanged), description: 'As they are now.' }, ...errorResponses(400, 403) }

  app.get(path, {
    config: administering,
    schema: {
      operationId: 'get_settings',
      tags,
      summary: 'What is in force, and from where',
      description: 'Secrets are never shown.',
      response: { 200: { ...Ref(SettingsView), description: 'The settings.' }, ...errorResponses(403) }
    }
  }, async () => {
    const state = await runtime.read()
    return {
      success: true as const,
      settings: changeableView(state),
      in_force: describeSettings(config, sources, state).map(settingView),
      version
    }
  })

  app.put(path, {
    config: administering,
    schema: {
      operationId: 'change_settings',
      tags,
      summary: 'Change what can be changed while the service runs',
      description: 'Kept over restarts; every process obeys at once.',
      body: Ref(SettingsChange),
      response: changed
    }
  }, async request => {
    const { queueProcessingEnabled, retention_days: days, retention_jobs: jobs, ...own } = request.body
    await checkOwn(own)
    const state = await runtime.change({
      ...(queueProcessingEnabled === undefined ? {} : { queueProcessing: queueProcessingEnabled }),
      ...(days === undefined ? {} : { retentionDays: days }),
      ...(jobs === undefined ? {} : { retentionJobs: jobs })
    }, own)
    log.info({ changed: Object.keys(request.body) }, 'settings were changed')
    return { success: true as const, message: 'The settings were changed.', settings: changeableView(state) }
  })

  /** @throws ServiceError about what a client wants to keep */
  async function checkOwn (own: Readonly<Record<string, unknown>>): Promise<void> {
    const names = Object.keys(own)
    for (const name of names) {
      if (name in Settings.properties) {
        throw new ServiceError('invalid_field_value',
          `${name} is set in the environment or in .env and takes a restart.`, { field: name })
      }
      if (name.length > 100 || name === 'lastUpdated' || JSON.stringify(own[name]).length > longestOwn) {
        throw new ServiceError('invalid_field_value',
          `${name.slice(0, 100)} cannot be kept: a client may keep values of up to ${longestOwn} letters under names of its own.`,
          { field: name.slice(0, 100) })
      }
    }
    if (names.length === 0) return
    const kept = Object.keys((await runtime.read()).own)
    if (new Set([...kept, ...names]).size > mostOwn) {
      throw new ServiceError('invalid_field_value', `At most ${mostOwn} values of clients are kept.`, { field: names[0] ?? '' })
    }
  }

  app.put(`${path}/queue-processing`, {
    config: administering,
    schema: {
      operationId: 'set_queue_processing',
      tags,
      summary: 'Let servers take jobs, or hold all lines',
      description: 'Holding lets running generations end; jobs are accepted and wait. A single server is held with ' +
        '/api/v1/servers/{alias}/pause.',
      body: Type.Object({
        enabled: Type.Boolean({ description: 'Whether servers take jobs.' })
      }, { examples: [{ enabled: true }] }),
      response: changed
    }
  }, async request => {
    const { enabled } = request.body
    const state = await runtime.change({ queueProcessing: enabled })
    log.info({ enabled }, 'queue processing was switched')
    return {
      success: true as const,
      message: enabled
        ? 'The queue is on: servers take jobs.'
        : 'The queue is off: running generations end, and no further one begins.',
      settings: changeableView(state)
    }
  })

  app.get(`${path}/retention`, {
    config: administering,
    schema: {
      operationId: 'get_retention',
      tags,
      summary: 'Which jobs are removed, and what is due now',
      description: 'With days or jobs: what would be due under them.',
      querystring: RetentionQuery,
      response: { 200: { ...Ref(RetentionView), description: 'How it stands.' }, ...errorResponses(400, 403) }
    }
  }, async request => {
    const { retentionDays, retentionJobs } = (await runtime.read()).values
    const rules = {
      days: request.query.days ?? retentionDays,
      jobs: request.query.jobs ?? retentionJobs,
      dropInDays: config.TRACKER_RETENTION
    }
    const [{ oldest, ...due }, last] = await Promise.all([retention.due(rules), retention.last()])
    return {
      success: true as const,
      days: rules.days,
      jobs: rules.jobs,
      tracker_days: rules.dropInDays,
      interval_hours: purgeInterval / 3_600_000,
      due: { ...due, oldest: iso(oldest) },
      last: last === null ? null : { jobs: last.jobs, images: last.images, bytes: last.bytes, at: iso(last.at) }
    }
  })

  app.post(`${path}/retention/purge`, {
    config: administering,
    schema: {
      operationId: 'purge_jobs',
      tags,
      summary: 'Remove now what is due',
      description: 'Jobs with their images, thumbnails and input images, by the rules in force, which see before what ' +
        'is due. Happens by itself every six hours.',
      response: { 200: { ...Ref(PurgeAnswer), description: 'What was removed.' }, ...errorResponses(403) }
    }
  }, async () => {
    const { jobs, images, bytes, more } = await retention.purge(undefined, purgedAtOnce)
    return {
      success: true as const,
      message: jobs === 0 ? 'Nothing was due.' : `${jobs} job${jobs === 1 ? '' : 's'} with ${images} image${images === 1 ? '' : 's'} removed.`,
      removed: { jobs, images, bytes },
      more
    }
  })
}

export default settingsRoutes

function changeableView ({ values, updatedAt, own }: RuntimeState): ChangeableSettings {
  return {
    ...own,
    queueProcessingEnabled: values.queueProcessing,
    retention_days: values.retentionDays,
    retention_jobs: values.retentionJobs,
    lastUpdated: iso(updatedAt)
  }
}

function settingView ({ secrecy, presence, runtimeName, ...setting }: DescribedSetting): SettingView {
  return {
    ...setting,
    is_secret: secrecy === 'secret',
    is_set: presence === 'set',
    changeable_as: runtimeName === null ? null : wireNames[runtimeName]
  }
}
