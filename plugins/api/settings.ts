import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { Closed, Ref } from '../../schemas/kit.ts'
import {
  PurgeAnswer, PurgeRequest, RetentionQuery, RetentionView, SettingsChange, SettingsChanged, SettingsView,
  type ChangeableSettings, type SettingView
} from '../../schemas/settings.ts'
import { fieldsOf } from '../../src/lib/json-values.ts'
import { describeSettings, type DescribedSetting } from '../../src/config/sources.ts'
import type { RuntimeName, RuntimeState } from '../../src/config/runtime-settings.ts'
import { Settings } from '../../src/config/settings.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { iso } from '../../src/lib/text.ts'
import { purgeInterval } from '../../src/jobs/retention.ts'
import { version } from '../../src/lib/version.ts'
import { momentOf } from './job-views.ts'

const path = '/api/v1/settings'
const tags = ['Settings']
const administering = { access: { scope: 'queue:admin' } } as const
/** Number of jobs that one call removes. */
const purgedAtOnce = 1000

const wireNames: Readonly<Record<RuntimeName, string>> = {
  queueProcessing: 'queueProcessingEnabled', retentionDays: 'retention_days', retentionJobs: 'retention_jobs'
}

/** The current settings and their sources; values that can change while the service runs; removing old jobs. */
const settingsRoutes: FastifyPluginAsyncTypebox = async app => {
  const { config, sources, runtime, retention, jobList: list, log } = app

  const changed = { 200: { ...Ref(SettingsChanged), description: 'As they are now.' }, ...errorResponses(400, 403) }

  app.get(path, {
    config: administering,
    schema: {
      operationId: 'settings.get',
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
    preValidation: async request => { await refuseOthers(request.body) },
    schema: {
      operationId: 'settings.change',
      tags,
      summary: 'Change what can be changed while the service runs',
      description: 'Kept over restarts; every process obeys at once.',
      body: Ref(SettingsChange),
      response: changed
    }
  }, async request => {
    const { queueProcessingEnabled, retention_days: days, retention_jobs: jobs } = request.body
    const state = await runtime.change({
      ...(queueProcessingEnabled === undefined ? {} : { queueProcessing: queueProcessingEnabled }),
      ...(days === undefined ? {} : { retentionDays: days }),
      ...(jobs === undefined ? {} : { retentionJobs: jobs })
    })
    log.info({ changed: Object.keys(request.body) }, 'settings were changed')
    return { success: true as const, message: 'The settings were changed.', settings: changeableView(state) }
  })

  app.delete(`${path}/kept/:name`, {
    config: administering,
    schema: {
      operationId: 'settings.removeKept',
      tags,
      summary: 'Remove a value that an earlier version kept for a client',
      description: 'Earlier versions stored unknown fields. They are returned until they are removed.',
      params: Type.Object({ name: Type.String({ maxLength: 100, description: 'Its name in the settings.' }) }),
      response: { ...changed, ...errorResponses(403, 404) }
    }
  }, async request => {
    const { name } = request.params
    if (!await runtime.forgetOwn(name)) throw new ServiceError('setting_not_found', `No value is kept under ${name}.`)
    const state = await runtime.read()
    return { success: true as const, message: `${name} was removed.`, settings: changeableView(state) }
  })

  /** @throws ServiceError for names that are known elsewhere, which says more than "unknown here" */
  async function refuseOthers (body: unknown): Promise<void> {
    const { own } = await runtime.read()
    for (const name of Object.keys(fieldsOf(body))) {
      if (name in Settings.properties) {
        throw new ServiceError('invalid_field_value',
          `${name} is set in the environment or in .env and needs a restart.`, { field: name })
      }
      if (Object.hasOwn(own, name)) {
        throw new ServiceError('invalid_field_value', `${name} was kept by an earlier version and can only be removed, ` +
          `with DELETE ${path}/kept/${encodeURIComponent(name)}.`, { field: name })
      }
    }
  }

  app.put(`${path}/queue-processing`, {
    config: administering,
    schema: {
      operationId: 'settings.setQueueProcessing',
      tags,
      summary: 'Resume or pause all queues',
      description: 'In a pause, running generations finish; jobs are accepted and wait. Pause a single server with ' +
        '/api/v1/servers/{alias}/pause.',
      body: Closed({
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
      operationId: 'settings.getRetention',
      tags,
      summary: 'Which jobs are removed, and what is due now',
      description: 'With days or jobs: what would be due under them.',
      querystring: RetentionQuery,
      response: { 200: { ...Ref(RetentionView), description: 'State.' }, ...errorResponses(400, 403) }
    }
  }, async request => {
    const { retentionDays, retentionJobs } = (await runtime.read()).values
    const rules = {
      days: request.query.days ?? retentionDays,
      jobs: request.query.jobs ?? retentionJobs,
      dropInDays: config.TRACKER_RETENTION
    }
    const timestamp = await list.now()
    const [{ oldest, ...due }, last] = await Promise.all([retention.due(rules), retention.last()])
    return {
      success: true as const,
      as_of: iso(timestamp),
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
      operationId: 'settings.purgeJobs',
      tags,
      summary: 'Remove now what is due',
      description: 'Jobs with their images, thumbnails and input images, by the rules in force, which see before what ' +
        'is due. Runs automatically every six hours. With `expected` and `created_before` no more than the counted jobs are deleted.',
      body: Ref(PurgeRequest),
      response: { 200: { ...Ref(PurgeAnswer), description: 'What was removed.' }, ...errorResponses(403, 409) }
    }
  }, async request => {
    const { expected, created_before: before } = request.body ?? {}
    const { jobs, images, bytes, more } = await retention.purge(undefined, {
      most: purgedAtOnce,
      ...(expected === undefined ? {} : { expected }),
      ...(before === undefined ? {} : { before: momentOf('created_before', before) })
    })
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
