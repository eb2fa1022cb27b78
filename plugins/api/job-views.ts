import { LRUCache } from 'lru-cache'
import { hasEnded, type JobFilterFields, type JobView, type ShortJobView } from '../../schemas/job.ts'
import { type EstimatedJob, type Estimates, noOutlook } from '../../src/jobs/estimates.ts'
import type { Job } from '../../src/jobs/job.ts'
import type { JobFilter, JobList } from '../../src/jobs/list.ts'
import type { AheadOf, JobStore } from '../../src/jobs/store.ts'
import { aliasOf } from '../../src/jobs/job.ts'
import { mayDo, type Principal } from '../../src/access/principal.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { stringifyJson } from '../../src/lib/exact-json.ts'
import type { Server, ServerRegistry } from '../../src/servers/registry.ts'
import {
  renderExpected, renderJob, renderRecord, renderShortExpected, renderShortJob, renderShortRecord
} from './render-job.ts'

/** How a list shows its jobs. */
export type ListView = 'full' | 'short'

/** The parts of a view: of the record, and what is expected. */
const partsOf = {
  full: { renderRecord, renderExpected },
  short: { renderRecord: renderShortRecord, renderExpected: renderShortExpected }
}

/** Size of all texts of records that a process keeps, and of the longest one, in bytes. */
const [keptTexts, longestText] = [16 * 1024 ** 2, 256 * 1024]

interface KeptText {
  readonly stamp: string
  readonly alias: string
  /** The JSON of a job that has ended; of another without what is expected and the closing brace. */
  readonly text: Buffer
  /** What the expectation needs of a waiting job; null of one that has ended. */
  readonly waiting: (EstimatedJob & Pick<Job, 'progress'>) | null
}

export interface JobViewsDependencies {
  readonly registry: Pick<ServerRegistry, 'byId' | 'list'>
  readonly estimates: Pick<Estimates, 'of'>
  readonly store: Pick<JobStore, 'readMany'>
  readonly list: Pick<JobList, 'stamps'>
}

/** Views of jobs for clients at `base`, with alias, position and times looked up. */
export function createJobViews ({ registry, estimates, store, list }: JobViewsDependencies) {
  /**
   * Texts of records that wait or have ended, which only change with their record and with the alias of their server.
   * Those of running jobs change all the time.
   */
  const kept = new LRUCache<string, KeptText>({
    maxSize: keptTexts,
    maxEntrySize: longestText,
    sizeCalculation: ({ text, waiting }) => (waiting === null ? 1 : 2) * text.length + 200
  })
  async function many (jobs: readonly Job[], base: string): Promise<JobView[]> {
    const outlooks = await estimates.of(jobs)
    return jobs.map((job, index) =>
      renderJob(job, { alias: aliasOf(registry, job.serverId), base, ...outlooks[index] ?? noOutlook }))
  }

  return {
    many,
    async short (jobs: readonly Job[], base: string): Promise<ShortJobView[]> {
      const outlooks = await estimates.of(jobs)
      return jobs.map((job, index) =>
        renderShortJob(job, { alias: aliasOf(registry, job.serverId), base, ...outlooks[index] ?? noOutlook }))
    },
    /** The JSON of the jobs that still exist, in the order given. */
    async texts (ids: readonly string[], view: ListView, base: string): Promise<Buffer[]> {
      const nameOf = (id: string) => `${view} ${id} ${base}`
      const { renderRecord, renderExpected } = partsOf[view]
      const stamps = await list.stamps(ids)
      const texts = new Map<string, Buffer>()
      const unfinished: Array<{ readonly job: NonNullable<KeptText['waiting']>, readonly text: Buffer }> = []
      for (const { id, status, serverId, stamp } of stamps) {
        if (status === null) continue
        const known = kept.get(nameOf(id))
        if (known?.stamp !== stamp || known.alias !== aliasOf(registry, serverId)) continue
        texts.set(id, known.text)
        if (known.waiting !== null) unfinished.push({ job: known.waiting, text: known.text })
      }
      // A record that changes meanwhile is newer than its stamp, so its text is not used again.
      const jobs = await store.readMany(ids.filter(id => !texts.has(id)))
      const stampOf = new Map(stamps.map(({ id, stamp }) => [id, stamp]))
      for (const job of jobs) {
        const alias = aliasOf(registry, job.serverId)
        const rendered = renderRecord(job, { alias, base })
        const isOpen = !hasEnded(job.status)
        const text = Buffer.from(isOpen
          ? stringifyJson(rendered).slice(0, -1)
          : stringifyJson(Object.assign(rendered, renderExpected(job, noOutlook))))
        texts.set(job.id, text)
        if (isOpen) unfinished.push({ job, text })
        if (job.status !== 'processing') {
          const waiting = isOpen ? waitingPart(job) : null
          kept.set(nameOf(job.id), { stamp: stampOf.get(job.id) ?? '', alias, text, waiting })
        }
      }
      const outlooks = await estimates.of(unfinished.map(({ job }) => job))
      for (const [index, { job, text }] of unfinished.entries()) {
        const expected = JSON.stringify(renderExpected(job, outlooks[index] ?? noOutlook))
        texts.set(job.id, Buffer.concat([text, Buffer.from(`,${expected.slice(1)}`)]))
      }
      return ids.flatMap(id => texts.get(id) ?? [])
    },
    async one (job: Job, base: string): Promise<JobView> {
      const [view] = await many([job], base)
      return view as JobView
    }
  }
}

export type JobViews = ReturnType<typeof createJobViews>

/** Without the rest of the record, which would stay in memory with its text. */
function waitingPart (
  { id, serverId, status, submission, needs, jobClass, target, background, progress }: Job
): NonNullable<KeptText['waiting']> {
  return { id, serverId, status, submission, needs, jobClass, target, background, progress }
}

/** Whose jobs a client's can overtake: everybody's only with `queue:admin`. */
export function aheadOf (principal: Principal): AheadOf {
  return mayDo(principal, 'queue:admin') ? 'everybody' : 'own'
}

/**
 * The server of a filter; null for `default`, as views name the server of a job that any can take.
 * @throws ServiceError `server_not_found`
 */
function targetOf (
  registry: Pick<ServerRegistry, 'byAlias' | 'require'>, name: string, field: string
): Server | null {
  const isOpen = name.trim().toLowerCase() === 'default' && registry.byAlias('default') === undefined
  return isOpen ? null : registry.require(name, field)
}

/** Every spelling of the routes of jobs in clients and documents; `flat` is v1's form of one job's status. */
export const jobBases = [
  { base: '/api/v2/jobs', status: 'wrapped' },
  { base: '/api/v2/queue/jobs', status: 'wrapped' },
  { base: '/api/v1/jobs', status: 'flat' },
  { base: '/api/v1/queue/jobs', status: 'flat' }
] as const

/**
 * The time of a parameter in milliseconds since the epoch. The format also admits leap seconds, which JavaScript cannot
 * represent.
 * @param field name of the parameter, for the error
 */
export function momentOf (field: string, text: string): number {
  const timestamp = Date.parse(text)
  if (!Number.isNaN(timestamp)) return timestamp
  throw new ServiceError('invalid_field_value', `${field} must be a moment such as 2026-11-21T09:30:00Z.`, { field })
}

/**
 * The jobs that a list or an action concerns.
 * @param key id of the access key whose jobs the client can reach; undefined for those of all
 * @param place path of the fields, for errors, such as `filter.`
 * @throws ServiceError `server_not_found` or `invalid_field_value`, naming the field
 */
export function readJobFilter (
  fields: JobFilterFields, key: string | undefined, registry: Pick<ServerRegistry, 'byAlias' | 'require' | 'list'>, place = ''
): JobFilter {
  const { status, user, app_type: appType, since, before, search, group, error, background } = fields
  const server = serverOf(fields, registry, place)
  return {
    ...(key === undefined ? {} : { keyId: key }),
    ...(server === undefined || (status === 'pending' && isOnly(server, registry)) ? {} : { serverId: server }),
    ...(status === undefined ? {} : { status }),
    ...(user === undefined ? {} : { user: user.normalize('NFC').trim() }),
    ...(appType === undefined ? {} : { appType }),
    ...(since === undefined ? {} : { since: momentOf(`${place}since`, since) }),
    ...(before === undefined ? {} : { before: momentOf(`${place}before`, before) }),
    ...(search === undefined ? {} : { text: search }),
    ...(group === undefined ? {} : { group }),
    ...(error === undefined ? {} : { errorCode: error }),
    ...(background === undefined ? {} : { background })
  }
}

/** Jobs that wait for any server wait for the only one. */
function isOnly (serverId: string, registry: Pick<ServerRegistry, 'list'>): boolean {
  const enabled = registry.list().filter(server => server.enabled)
  return enabled.length === 1 && enabled[0]?.id === serverId
}

/** The id of the server from either of its names; empty for jobs that any server can take. */
function serverOf (
  { server, target_server_alias: target }: JobFilterFields, registry: Pick<ServerRegistry, 'byAlias' | 'require'>,
  place: string
): string | undefined {
  const one = server === undefined ? undefined : targetOf(registry, server, `${place}server`)?.id ?? ''
  const other = target === undefined ? undefined : targetOf(registry, target, `${place}target_server_alias`)?.id ?? ''
  if (one !== undefined && other !== undefined && one !== other) {
    throw new ServiceError('invalid_field_value', `${place}server and ${place}target_server_alias name two servers.`,
      { field: `${place}target_server_alias` })
  }
  return one ?? other
}
