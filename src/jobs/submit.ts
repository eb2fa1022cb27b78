import { randomInt, randomUUID } from 'node:crypto'
import { A1111Parameters } from '../../schemas/generation-parameters.ts'
import { admit, type Admission, type OnMissing } from '../a1111/admission.ts'
import { fieldRules } from '../a1111/field-values.ts'
import { replaceImages } from '../a1111/images.ts'
import { normaliseParameters, type NormalisedParameters } from '../a1111/parameters.ts'
import { ServiceError } from '../errors.ts'
import type { InputImages } from './input-images.ts'
import type { DropInOrigin } from '../sdapi/origin.ts'
import { rankCandidates } from '../servers/choose.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import type { Server } from '../servers/server.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import type { CheckedWebhook, WebhookDesk } from '../webhooks/submission.ts'
import type { WebhookWish } from '../webhooks/subscription.ts'
import type { JobWarning } from './job.ts'
import type { JobStore } from './store.ts'

/** What any interface makes of a request. */
export interface SubmissionRequest {
  /** Alias of a server; empty or `default` for whichever is best. */
  readonly target: string
  /** Generation parameters as the client sent them. */
  readonly given: unknown
  readonly appType: string
  readonly source: string
  /** 1 to 10, 10 first. */
  readonly priority: number
  /** What to do when the server lacks something named. */
  readonly onMissing: OnMissing
  readonly keyId: string | null
  readonly bulkId: string | null
  readonly dropIn?: DropInOrigin
  /** Where to send events; without it, the default endpoint of the key. */
  readonly webhook?: WebhookWish | null
  /** Address under which the caller reached us, for links in events; PUBLIC_URL goes first. */
  readonly baseUrl?: string
  /** The caller's own JSON. */
  readonly metadata?: unknown
}

/** A submission that was checked and has its server, but is in no line yet. */
export interface CheckedSubmission {
  readonly request: SubmissionRequest
  readonly server: Server
  readonly normalised: NormalisedParameters
  readonly admission: Admission
  readonly webhook: CheckedWebhook | null
}

export interface Accepted {
  readonly id: string
  readonly server: Server
  readonly position: number
  readonly createdAt: number
  readonly seed: number | null
  readonly warnings: readonly JobWarning[]
}

export interface SubmitDependencies {
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
  readonly store: JobStore
  readonly inputs: InputImages
  /** Waiting jobs that one access key may have. */
  readonly queueLimitPerKey: number
  readonly limits: { readonly pixelsPerJob: number }
  readonly waitingOfKey: (keyId: string) => Promise<number>
  readonly webhooks: WebhookDesk
  /** Begin of links in events where a request does not say how it reached us. */
  readonly ownUrl: string
}

export interface Submitter {
  /** Checks everything that can be checked without keeping anything. @throws ServiceError naming the field */
  check (request: SubmissionRequest): Promise<CheckedSubmission>
  /** Stores the images and puts the job in line. `id` is the job's; `seed` replaces the one that was checked. */
  accept (checked: CheckedSubmission, id: string, seed?: number): Promise<Accepted>
}

const rules = fieldRules(A1111Parameters)
const mostMetadataBytes = 4096

/** The one way into the queue, for every interface. */
export function createSubmitter (dependencies: SubmitDependencies): Submitter {
  const { registry, states, store, inputs, queueLimitPerKey, limits, waitingOfKey, webhooks, ownUrl } = dependencies

  /** The servers that may take the job, best first. */
  async function candidates (target: string): Promise<Server[]> {
    if (!isAnyServer(target)) return [registry.require(target)]
    const servers = registry.list()
    const known = await states.readMany(servers.map(({ id }) => id))
    const waiting = await Promise.all(servers.map(async ({ id }) => await store.waitingOn(id)))
    return rankCandidates(servers.map((server, index) => ({
      server, state: known[index] ?? null, waiting: waiting[index] ?? 0
    }))).map(({ server }) => server)
  }

  /** What the server makes of the parameters; a server that was never heard of is asked when the job is sent. */
  async function admitTo (
    server: Server, normalised: NormalisedParameters, request: SubmissionRequest
  ): Promise<Admission> {
    const [inventory, state] = await Promise.all([states.inventory(server.id), states.read(server.id)])
    const traits = state?.traits ?? null
    return inventory === null || traits === null
      ? { parameters: normalised.parameters, checkpointTitle: null, warnings: [] }
      : admit(normalised, { inventory, traits }, request.onMissing)
  }

  return {
    async check (request) {
      const { keyId } = request
      if (keyId !== null && await waitingOfKey(keyId) >= queueLimitPerKey) {
        throw new ServiceError('queue_limit_reached',
          `This key has ${queueLimitPerKey} jobs waiting already; wait for some of them to start.`)
      }
      checkMetadata(request.metadata)
      const webhook = await webhooks.check(request.webhook ?? null, keyId)
      const normalised = normaliseParameters(request.given, {
        rules, random: below => randomInt(below), maximumPixels: limits.pixelsPerJob
      })
      const servers = await candidates(request.target)
      let refusal: unknown = new ServiceError('no_server_available',
        'No server is registered and enabled; add one with POST /api/v1/servers.', { field: 'target_server_alias' })
      for (const [index, server] of servers.entries()) {
        try {
          return { request, server, normalised, admission: await admitTo(server, normalised, request), webhook }
        } catch (error) {
          // The best server's reason is the one worth hearing.
          if (index === 0) refusal = error
          if (!(error instanceof ServiceError) || error.status !== 422) throw error
        }
      }
      throw refusal
    },
    async accept ({ request, server, normalised, admission, webhook }, id, seed) {
      const given = seed === undefined ? admission.parameters : { ...admission.parameters, seed }
      const parameters = await replaceImages(given, async (text, field) => await inputs.keep(text, field))
      const warnings = [...normalised.warnings, ...admission.warnings, ...webhook?.warnings ?? []]
      const { position, createdAt } = await store.create({
        id,
        serverId: server.id,
        keyId: request.keyId,
        priority: request.priority,
        bulkId: request.bulkId,
        webhook: webhook === null ? null : webhooks.subscribe(webhook, `job:${id}`, request.baseUrl ?? ownUrl),
        submission: {
          mode: normalised.mode,
          parameters,
          checkpoint: normalised.checkpoint,
          checkpointTitle: admission.checkpointTitle,
          anyServer: isAnyServer(request.target),
          appType: request.appType,
          source: request.source,
          onMissing: request.onMissing,
          ...(request.dropIn === undefined ? {} : { dropIn: request.dropIn }),
          warnings,
          ...(request.metadata === undefined ? {} : { metadata: request.metadata })
        }
      })
      const resolved = parameters.seed
      return { id, server, position, createdAt, seed: typeof resolved === 'number' ? resolved : null, warnings }
    }
  }
}

function checkMetadata (metadata: unknown): void {
  if (metadata === undefined || Buffer.byteLength(JSON.stringify(metadata)) <= mostMetadataBytes) return
  throw new ServiceError('invalid_field_value', `metadata must have at most ${mostMetadataBytes} bytes as JSON.`,
    { field: 'metadata' })
}

function isAnyServer (target: string): boolean {
  const name = target.trim().toLowerCase()
  return name === '' || name === 'default'
}

/** Ids of jobs are unguessable and the same everywhere. */
export const newJobId = (): string => randomUUID()
