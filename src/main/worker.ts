import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import type { Redis } from 'ioredis'
import { createGenerationQueues, entriesLua } from '../../queues/generation-queue.ts'
import type { WorkerIntervals } from '../../queues/server-worker.ts'
import { startServerWorkers, type ServerWorkers } from '../../queues/server-workers.ts'
import { createA1111Client } from '../a1111/client.ts'
import { checkCompatibility } from '../a1111/compatibility.ts'
import { createRawCalls } from '../a1111/raw-calls.ts'
import type { Inventory, ServerTraits } from '../a1111/types.ts'
import { createImageCollectors } from '../jobs/collect-images.ts'
import type { JobSubmission } from '../jobs/job.ts'
import { compatibilityRequestOf } from '../jobs/prepare-generation.ts'
import { sweepMedia } from '../jobs/media-sweep.ts'
import { createPreviewSender } from '../jobs/send-previews.ts'
import { createJobClaims } from '../jobs/claims.ts'
import { createJobStore, type JobStore } from '../jobs/store.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import type { Log } from '../lib/logging.ts'
import { shareStorageFaults } from '../media/shared-faults.ts'
import { wholeOutput } from '../media/store.ts'
import { createTagger, type Tags } from '../media/tagger.ts'
import { connectRedis } from '../redis/connections.ts'
import { redisProblemOf } from '../redis/errors.ts'
import { createCheckStore } from '../server-check/check-service.ts'
import type { CheckLimits } from '../server-check/session.ts'
import { readCandidates } from '../servers/choose.ts'
import { createLeaseStore, createWorkerRoster, describeHolder } from '../servers/lease.ts'
import { createServerStateStore } from '../servers/state-store.ts'
import { startFlorenceWorker } from '../services/florence.ts'
import { startModelWorker } from '../services/models.ts'
import { poolDial, type Services } from '../services/services.ts'
import { startWebhooks } from '../services/webhooks.ts'
import { metricsContentType, processMetrics } from '../telemetry/metrics.ts'

/** Interval of retries of writes that Redis refuses, in milliseconds. */
const tryInterval = 500

/**
 * The store of a worker. A finished generation is not lost because Redis takes no writes now: the step is repeated
 * until Redis takes it, which is harmless since every script gives the same claim the same answer. While Redis is away
 * the connection itself waits.
 * @param closing gives up
 */
function insistingStore (store: JobStore, log: Log, closing: AbortSignal): JobStore {
  let refused = ''

  async function insist<Outcome> (work: () => Promise<Outcome>): Promise<Outcome> {
    for (;;) {
      try {
        const outcome = await work()
        if (refused !== '') log.info('Redis carries out the steps of jobs again')
        refused = ''
        return outcome
      } catch (error) {
        const problem = redisProblemOf(error)
        if (problem?.kind !== 'refused' || closing.aborted) throw error
        if (refused !== problem.code) {
          log.error({ err: error, reason: problem.reason }, 'Redis rejects a step of a job; retrying until it succeeds')
        }
        refused = problem.code
        await sleep(tryInterval, undefined, { signal: closing }).catch(() => {})
      }
    }
  }

  return {
    ...store,
    find: async id => await insist(async () => await store.find(id)),
    start: async (claim, fence) => await insist(async () => await store.start(claim, fence)),
    end: async (claim, status, outcome) => await insist(async () => await store.end(claim, status, outcome)),
    giveBack: async (claim, options) => await insist(async () => await store.giveBack(claim, options))
  }
}

/** Keys that are read at a time. */
const page = 200

/** All stored data of users, including sessions and presets, as JSON. */
export async function * storedTexts (redis: Redis, keys: Keys): AsyncGenerator<string, void> {
  for (let cursor = '0'; ;) {
    const [next, found] = await redis.scan(cursor, 'MATCH', keys.key('studio', '*'), 'COUNT', page, 'TYPE', 'string')
    const texts = found.length === 0 ? [] : await redis.mget(...found)
    for (const text of texts) if (text !== null) yield text
    if (next === '0') return
    cursor = next
  }
}

/** The part of a process that runs jobs and delivers their events. */
export interface Worker {
  readonly serverWorkers: ServerWorkers
  close (): Promise<void>
}

const mebibyte = 1024 * 1024

/**
 * Starts running the jobs of all servers that no other process serves. It waits for Redis where requests fail, hence a
 * connection of its own.
 */
export async function startWorker (
  services: Services, intervals?: WorkerIntervals, checkLimits?: CheckLimits
): Promise<Worker> {
  const {
    config, log, keys, subscriber, registry, runtime, media, storage, coming, connect, starts, processId, metrics,
    tracing
  } = services
  const connection = await connectRedis(services.redisUrl, 'worker', log)
  const queues = createGenerationQueues({ connection, keys, log })
  const closing = new AbortController()
  const pool = { redis: connection, keys, queueEntries: entriesLua, dial: poolDial(config) }
  const store = insistingStore(createJobStore(pool), log, closing.signal)
  const states = createServerStateStore(connection, keys, services.stateCopies)
  const previews = await createPreviewSender({ redis: connection, subscriber, keys })
  const sharing = shareStorageFaults(services, storage)
  const serverWorkers = await startServerWorkers({
    connection,
    subscriber,
    keys,
    queues,
    registry,
    runtime,
    media,
    storage,
    coming,
    collectImages: createImageCollectors({ media, storage, log }),
    log,
    connect,
    checks: {
      store: createCheckStore(connection, keys),
      connect: ({ address }) => createRawCalls(address, { resolve: services.reach.resolve, guard: starts }),
      ...(checkLimits === undefined ? {} : { limits: checkLimits })
    },
    starts,
    processId,
    metrics,
    tracing,
    store,
    claims: createJobClaims(pool),
    states,
    previews,
    leases: createLeaseStore(connection, keys, describeHolder(processId)),
    roster: createWorkerRoster(connection, keys, describeHolder(processId)),
    async reaches ({ address }) {
      const client = createA1111Client(address, { resolve: services.reach.resolve })
      return await client.hold().then(() => true, () => false).finally(client.close)
    },
    async otherServer (submission, except, which) {
      const ranked = await readCandidates(registry.list(), states, async () => 0, submission.checkpoint)
      for (const { server, state } of ranked) {
        const answers = state?.reachable === 'yes' && !server.paused
        if (except.has(server.alias) || server.draining || (which === 'answering' && !answers)) continue
        if (suits(submission, await states.inventory(server.id), state?.traits ?? null)) return server
      }
      return null
    },
    tagOutput: tagOutputs(services),
    limits: {
      attempts: config.JOB_ATTEMPTS,
      backoffSeconds: config.RETRY_BACKOFF_SECONDS,
      random: Math.random,
      jobTimeoutSeconds: config.JOB_TIMEOUT_SECONDS,
      maxAnswerBytes: config.RESULT_MAX_MIB * mebibyte,
      stallSeconds: config.STALL_SECONDS
    },
    ...(intervals === undefined ? {} : { intervals })
  })
  const modelWorker = await startModelWorker(connection, {
    ...services,
    sweep: async before => await sweepMedia({
      redis: connection, keys, store, media, otherTexts: () => storedTexts(connection, keys)
    }, before)
  })
  const webhookWorker = await startWebhooks(connection, services)
  const florenceWorker = startFlorenceWorker(connection, services)
  return {
    serverWorkers,
    async close () {
      const deadline = config.SHUTDOWN_SECONDS * 1000
      await Promise.all([
        serverWorkers.close(deadline), webhookWorker.close(deadline), modelWorker.close(), florenceWorker.close()
      ])
      closing.abort()
      sharing.close()
      previews.close()
      await queues.close()
      connection.disconnect()
    }
  }
}

/** Whether a server has everything that a job needs. It is unknown of a server that was never reached. */
function suits (submission: JobSubmission, inventory: Inventory | null, traits: ServerTraits | null): boolean {
  if (inventory === null || traits === null) return false
  try {
    checkCompatibility(compatibilityRequestOf(submission), { inventory, traits }, submission.onMissing)
    return true
  } catch (error) {
    if (error instanceof ServiceError) return false
    throw error
  }
}

/** Reads outputs and has them tagged; null if no tagger is configured. */
function tagOutputs ({ config, media, log }: Services): ((name: string, signal: AbortSignal) => Promise<Tags>) | null {
  if (config.TAGGER_URL === '') return null
  const tagger = createTagger({ url: new URL(config.TAGGER_URL), log })
  return async (name, signal) => await tagger.tag(name, await wholeOutput(media, name), signal)
}

/** Status of a worker process: `/health` and `/metrics`, open to all that reach its port. */
export function createWorkerStatus (services: Pick<Services, 'metrics'>, logger: FastifyBaseLogger): FastifyInstance {
  const app = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: true
  })
  app.get('/health', async () => ({ status: 'healthy' }))
  app.get('/metrics', async (_request, reply) => {
    reply.type(metricsContentType)
    return (await Promise.all([services.metrics.text(), processMetrics()])).join('\n')
  })
  return app
}
