import { randomInt, randomUUID } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { A1111Parameters } from '../../schemas/generation-parameters.ts'
import { normaliseExtras } from '../a1111/extras.ts'
import { fieldRules } from '../a1111/field-values.ts'
import { replaceImages } from '../a1111/images.ts'
import type { OutputLimits } from '../a1111/limits.ts'
import { type NormalisedParameters, normaliseParameters } from '../a1111/parameters.ts'
import { clientEcho } from '../a1111/payload.ts'
import type { Compatibility, OnMissing } from '../a1111/resolve.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Log } from '../lib/logging.ts'
import { isSeed, type Seed } from '../lib/seeds.ts'
import type { OutputForm } from '../media/encode-form.ts'
import type { StorageCheck } from '../media/storage.ts'
import { storageError } from '../media/storage-fault.ts'
import { hintsAbout, readCandidates, serverNamed } from '../servers/choose.ts'
import type { FreshLists } from '../servers/fresh-lists.ts'
import type { Server, ServerRegistry } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import type { RequestContext } from '../telemetry/tracing.ts'
import type { ComingJobs } from './coming-jobs.ts'
import type { Estimates, Outlook } from './estimates.ts'
import type { InputImages } from './input-images.ts'
import { aliasOf, type BotOrigin, type DropInOrigin, type Job, type JobSubmission, type JobWarning } from './job.ts'
import { classOf, needsOf } from './needs.ts'
import { type Created, type JobStore, type NewJob, tooManyWaiting } from './store.ts'
import { checkMetadata, refuseHugeParameters } from './submission-limits.ts'
import type { Subscription, WebhookRequest } from './webhook-request.ts'
import { workloadOf, type WorkPrediction } from './workload.ts'

/** A request as every interface submits it. */
export interface SubmissionRequest {
  /** Alias of a server; empty, `auto` or `default` for the best one. */
  readonly target: string
  /** Generation parameters as the client sent them. */
  readonly given: unknown
  /** `extras` enlarges finished images; everything else is generated. */
  readonly work?: 'extras'
  readonly appType: string
  readonly source: string
  /** 1 to 10, 10 first. */
  readonly priority: number
  /** Whether it yields to all jobs that are not in the background; if omitted, as its key says. */
  readonly background?: boolean
  /** What to do if the server lacks something that the request names. */
  readonly onMissing: OnMissing
  /** How to treat an answer whose model, sampler, seed or number of images differ from the request. */
  readonly onDifference: 'warn' | 'fail'
  readonly keyId: string | null
  /** Of the client's HTTP request; null if there was none. */
  readonly context: RequestContext | null
  readonly bulkId: string | null
  /** `server` leaves the check of unsupported values to the server; without it they are checked here. */
  readonly judge?: 'server'
  readonly dropIn?: DropInOrigin
  readonly studio?: BotOrigin
  /** Whether a tagger processes the first image. */
  readonly autoTag?: boolean
  /** Where to send events; without it, the default endpoint of the key. */
  readonly webhook?: WebhookRequest | null
  /** Address under which the client reached us, for links in events; PUBLIC_URL takes precedence. */
  readonly baseUrl?: string
  /** How its images are stored; without it, as the server sends them. */
  readonly output?: OutputForm
  /** The client's own JSON. */
  readonly metadata?: unknown
  /** The client's request, if the job reports it under the client's own names too. */
  readonly clientFields?: unknown
  /** What to do with unknown parameters; `warn` by default. */
  readonly unknown?: 'warn' | 'refuse'
  /** Fields that the interface filled in. */
  readonly unnamed?: readonly string[]
  /** Further warnings of the interface. */
  readonly warnings?: readonly JobWarning[]
}

/** A webhook request that passed the checks. */
export interface CheckedWebhook {
  readonly requested: WebhookRequest
  readonly url: URL
  readonly keyId: string | null
  readonly warnings: readonly JobWarning[]
}

/** What a submission needs of webhooks. */
export interface WebhookService {
  /**
   * Checks everything that can be known at submission. Without a webhook in the request, the default endpoint of the
   * key counts; null if there is neither.
   * @throws ServiceError naming the field, each a 422
   */
  check (requested: WebhookRequest | null, keyId: string | null): Promise<CheckedWebhook | null>
  /** @param owner `job:<id>`; @param baseUrl where the client reached us */
  subscribe (checked: CheckedWebhook, owner: string, baseUrl: string): Subscription
}

/** A checked submission, but not yet in the pool. */
interface CheckedSubmission {
  readonly request: SubmissionRequest
  /** The server that it needs; null for any. */
  readonly target: Server | null
  /** The best one that can run it now. */
  readonly best: Server
  /** Ids of servers that lack something that it names. */
  readonly lacking: readonly string[]
  readonly normalised: NormalisedParameters
  readonly compatibility: Compatibility
  readonly webhook: CheckedWebhook | null
  /** About the servers at present, for the answer alone. */
  readonly hints: readonly JobWarning[]
  /** Number of jobs to create from the request. */
  readonly jobs: number
}

export interface Accepted {
  readonly id: string
  /** Alias of the server that has it or that it needs; `default` while any server can take it. */
  readonly alias: string
  readonly position: number
  readonly createdAt: number
  readonly seed: Seed | null
  readonly warnings: readonly JobWarning[]
}

export interface SubmitDependencies {
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
  readonly store: JobStore
  readonly inputs: InputImages
  /** Waiting jobs that one access key can have. */
  readonly queueLimitPerKey: number
  readonly limits: OutputLimits
  /** The waiting jobs of an access key, and the lane of its jobs that choose none. */
  readonly standingOf: (keyId: string) => Promise<{ readonly waiting: number, readonly background: boolean }>
  readonly webhooks: WebhookService
  readonly storage: Pick<StorageCheck, 'fault'>
  readonly lists: FreshLists
  readonly coming: Pick<ComingJobs, 'announce'>
  readonly work: WorkPrediction
  /** Beginning of links in events if a request does not say how it reached us. */
  readonly ownUrl: string
  readonly log: Log
}

export interface Submitter {
  /**
   * Checks everything that can be checked without storing anything.
   * @param jobs number of jobs to create from it
   * @throws ServiceError naming the field; `storage_full` while its result could not be stored
   */
  check (request: SubmissionRequest, jobs?: number): Promise<CheckedSubmission>
  /**
   * Stores the images and queues the job. `id` is the job's; `seed` replaces the checked one. An existing job with this
   * id stays as it is and becomes the answer.
   * @param group names jobs that are submitted together: the queue accepts all or none of them
   * @throws ServiceError `queue_limit_reached`
   */
  accept (checked: CheckedSubmission, id: string, seed?: Seed, group?: string): Promise<Accepted>
  /** The answer for a job that was accepted before; null if there is none. */
  recall (id: string): Promise<Accepted | null>
}

const rules = fieldRules(A1111Parameters)

/** An idle server waits for its request, which goes before the answer: the notice, the connection, and the bytes. */
const turnsUntilSent = 3

/** The one way into the queue, for every interface. */
export function createSubmitter (dependencies: SubmitDependencies): Submitter {
  const { registry, states, store, inputs, queueLimitPerKey, limits, standingOf } = dependencies
  const { webhooks, storage, lists, coming, work, ownUrl, log } = dependencies

  /** The servers that can take the job, best first. */
  async function candidates (named: Server | null, checkpoint: string | null): Promise<Server[]> {
    if (named !== null) return [named]
    const ranked = await readCandidates(registry.list(), states, async () => 0, checkpoint)
    return ranked.map(({ server }) => server)
  }

  /** The parameters as the server understands them; a server that was never reached is checked when the job is sent. */
  async function admitTo (
    server: Server, normalised: NormalisedParameters, request: SubmissionRequest
  ): Promise<Compatibility> {
    return await lists.checkCompatibility(server, normalised, request.onMissing) ??
      { parameters: normalised.parameters, checkpointTitle: null, warnings: [] }
  }

  /** The other servers that are known to lack something that the request names. */
  async function thoseLacking (
    admitting: Server, normalised: NormalisedParameters, { onMissing }: SubmissionRequest
  ): Promise<string[]> {
    const others = registry.list().filter(({ id, enabled }) => enabled && id !== admitting.id)
    const lacking = await Promise.all(others.map(async ({ id }) => await lists.lacks(id, normalised, onMissing)))
    return others.filter((_server, index) => lacking[index] === true).map(({ id }) => id)
  }

  /** The request with a lane. @throws ServiceError `queue_limit_reached` */
  async function ofItsKey (request: SubmissionRequest, jobs: number): Promise<SubmissionRequest> {
    if (request.keyId === null) return request
    const { waiting, background } = await standingOf(request.keyId)
    if (waiting + jobs > queueLimitPerKey) throw tooManyWaiting(waiting, queueLimitPerKey)
    return { background, ...request }
  }

  async function tell (job: Job): Promise<Accepted> {
    const { id, createdAt, submission: { parameters, warnings } } = job
    const alias = aliasOf(registry, job.serverId)
    return { id, alias, position: await store.position(job) ?? 1, createdAt, seed: seedOf(parameters), warnings }
  }

  async function createOrRelease (parameters: Readonly<Record<string, unknown>>, job: NewJob): Promise<Created> {
    try {
      return await store.create(job)
    } catch (error) {
      // After any other error it is unknown whether the job exists.
      if (error instanceof ServiceError && error.code === 'queue_limit_reached') await inputs.release(parameters)
      throw error
    }
  }

  return {
    async check (asked, jobs = 1) {
      const fault = await storage.fault()
      if (fault !== null) throw storageError(fault)
      const request = await ofItsKey(asked, jobs)
      checkMetadata(request.metadata)
      const webhook = await webhooks.check(request.webhook ?? null, request.keyId)
      const read = request.work === 'extras'
        ? normaliseExtras(request.given)
        : normaliseParameters(request.given, {
            rules,
            random: below => randomInt(below),
            maximumPixels: limits.pixels,
            maximumImages: limits.images,
            ...(request.judge === undefined ? {} : { judge: request.judge }),
            ...(request.unknown === undefined ? {} : { unknown: request.unknown })
          })
      const normalised = { ...read, unnamed: [...read.unnamed ?? [], ...request.unnamed ?? []] }
      refuseHugeParameters(normalised.parameters)
      const target = serverNamed(registry, request.target, 'target_server_alias')
      const servers = await candidates(target, normalised.checkpoint)
      let refusal: unknown
      for (const [index, server] of servers.entries()) {
        try {
          const compatibility = await admitTo(server, normalised, request)
          const lacking = target === null ? await thoseLacking(server, normalised, request) : []
          const hints = hintsAbout(server, await states.recent(server.id), target === null ? 'any' : 'named')
          return { request, target, best: server, lacking, normalised, compatibility, webhook, hints, jobs }
        } catch (error) {
          // The best server's reason is the one to report.
          if (index === 0) refusal = error
          if (!(error instanceof ServiceError) || error.status !== 422) throw error
        }
      }
      throw refusal ?? new ServiceError('no_server_available',
        'No server is registered and enabled; add one on the page Servers or with POST /api/v1/servers.', { field: 'target_server_alias' })
    },
    async accept ({
      request, target, best, lacking, normalised, compatibility, webhook, hints, jobs
    }, id, seed, group = request.bulkId ?? id) {
      const given = seed === undefined ? compatibility.parameters : { ...compatibility.parameters, seed }
      const parameters = await replaceImages(given, inputs.keep)
      const warnings = [normalised, compatibility, webhook, request]
        .flatMap(part => part?.warnings ?? []).concat(warningOf(best))
      const { context } = request
      const submission: JobSubmission = {
        mode: normalised.mode,
        parameters,
        checkpoint: normalised.checkpoint,
        checkpointTitle: compatibility.checkpointTitle,
        anyServer: target === null,
        appType: request.appType,
        source: request.source,
        onMissing: request.onMissing,
        onDifference: request.onDifference,
        ...(request.output === undefined ? {} : { output: request.output }),
        ...(request.dropIn === undefined ? {} : { dropIn: request.dropIn }),
        ...(request.studio === undefined ? {} : { studio: request.studio }),
        ...(request.autoTag === true ? { autoTag: true } : {}),
        warnings,
        ...(context === null ? {} : { requestId: context.requestId }),
        ...(context === null || context.traceparent === null ? {} : { trace: context.traceparent }),
        ...(request.metadata === undefined ? {} : { metadata: request.metadata }),
        ...clientNames(request.clientFields)
      }
      // An idle server's process gets ready while Redis stores the job, which is sent at the end of this turn.
      setImmediate(setImmediate, () => { coming.announce(best.id, { id, submission }) })
      const created = await createOrRelease(parameters, {
        id,
        target: target?.id ?? '',
        jobClass: classOf(needsOf(submission, target?.id ?? '', { lacking }), submission),
        workMs: await work.milliseconds(workloadOf(submission)),
        user: submission.studio?.user ?? '',
        keyId: request.keyId,
        priority: request.priority,
        background: request.background ?? false,
        bulkId: request.bulkId,
        group: { id: group, size: jobs },
        webhook: webhook === null ? null : webhooks.subscribe(webhook, `job:${id}`, request.baseUrl ?? ownUrl),
        submission
      })
      if (created.existing !== null) {
        await inputs.release(parameters)
        return await tell(created.existing)
      }
      const { position, createdAt, givenTo } = created
      const alias = aliasOf(registry, givenTo === '' ? target?.id ?? '' : givenTo)
      for (let turns = givenTo === '' ? 0 : turnsUntilSent; turns > 0; turns--) await nextTurn()
      log.info({ job: id, ...context === null ? {} : { request: context.requestId }, server: alias, place: position }, 'job accepted')
      return { id, alias, position, createdAt, seed: seedOf(parameters), warnings: [...warnings, ...hints] }
    },
    async recall (id) {
      const job = await store.find(id)
      return job === null ? null : await tell(job)
    }
  }
}

/** Servers that an operator takes out still get jobs that nothing else can run. */
function warningOf ({ alias, draining }: Server): JobWarning[] {
  if (!draining) return []
  const message = `${alias} is being drained and begins no jobs: the job waits until that is undone or the job is moved.`
  return [{ code: 'server_draining', message }]
}

function clientNames (given: unknown): Pick<JobSubmission, 'clientFields'> {
  const clientFields = clientEcho(given)
  return Object.keys(clientFields).length === 0 ? {} : { clientFields }
}

function seedOf ({ seed }: Readonly<Record<string, unknown>>): Seed | null {
  return isSeed(seed) ? seed : null
}

/** Ids of jobs are unguessable and the same everywhere. */
export const newJobId = (): string => randomUUID()

/** What a submission would lead to. */
export interface DryRun extends Outlook {
  /** Alias of the server that is expected to run it; `default` if that cannot be said. */
  readonly alias: string
  /** Aliases of the servers that can run it. */
  readonly servers: readonly string[]
  readonly seed: Seed | null
  readonly warnings: readonly JobWarning[]
}

export interface DryRunDependencies {
  readonly registry: Pick<ServerRegistry, 'list' | 'byId'>
  readonly estimates: Pick<Estimates, 'preview'>
  readonly work: WorkPrediction
}

/** Says where and when a checked submission would run, without queueing it. */
export async function dryRun (
  { request, target, lacking, normalised, compatibility, webhook, hints }: CheckedSubmission,
  { registry, estimates, work }: DryRunDependencies
): Promise<DryRun> {
  const { parameters, checkpointTitle } = compatibility
  const { mode, checkpoint } = normalised
  const workload = workloadOf({ mode, parameters, checkpoint, checkpointTitle })
  const { serverId, ...outlook } = await estimates.preview({
    share: request.keyId ?? '',
    background: request.background ?? false,
    user: request.studio?.user ?? '',
    priority: request.priority,
    needs: needsOf({ checkpoint, onMissing: request.onMissing }, target?.id ?? '', { lacking }),
    workload,
    workMs: await work.milliseconds(workload)
  })
  const able = target === null
    ? registry.list().filter(({ id, enabled }) => enabled && !lacking.includes(id))
    : [target]
  return {
    ...outlook,
    alias: aliasOf(registry, serverId ?? target?.id ?? ''),
    servers: able.map(({ alias }) => alias),
    seed: isSeed(parameters.seed) ? parameters.seed : null,
    warnings: [normalised, compatibility, webhook, request].flatMap(part => part?.warnings ?? []).concat(hints)
  }
}
