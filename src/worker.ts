import { startWorkforce, type Workforce } from '../queues/workforce.ts'
import { createGenerationQueues } from '../queues/generation-queues.ts'
import { admit } from './a1111/admission.ts'
import { createRawCalls } from './a1111/raw-calls.ts'
import type { Inventory, ServerTraits } from './a1111/types.ts'
import { ServiceError } from './errors.ts'
import { startFlorenceWorker } from './florence-house.ts'
import type { House } from './house.ts'
import { createImageCollectors } from './jobs/collect-images.ts'
import { insistingStore } from './jobs/insisting-store.ts'
import type { JobSubmission } from './jobs/job.ts'
import { sweepMedia } from './jobs/media-sweep.ts'
import { createPreviewSender } from './jobs/send-previews.ts'
import { createJobStore } from './jobs/store.ts'
import { shareStorageFaults } from './media/shared-faults.ts'
import { wholeOutput } from './media/whole-output.ts'
import { startModelWorker } from './model-house.ts'
import { connectRedis } from './redis/connections.ts'
import { createCheckStore } from './server-check/check-store.ts'
import type { CheckLimits } from './server-check/session.ts'
import { describeHolder } from './servers/lease-holder.ts'
import { createLeaseStore } from './servers/lease.ts'
import { readCandidates } from './servers/choose.ts'
import type { MonitorIntervals } from './servers/monitor.ts'
import { createServerStateStore } from './servers/state-store.ts'
import { createTagger, type Tags } from './tagging/tagger.ts'
import { storedTexts } from './studio/stored-texts.ts'
import { startWebhooks } from './webhook-house.ts'

/** The part of a process that runs jobs and delivers their events. */
export interface Worker {
  readonly workforce: Workforce
  close (): Promise<void>
}

const mebibyte = 1024 * 1024

/**
 * Starts running the jobs of all servers, as far as no other process does. It waits for Redis where requests fail,
 * hence a connection of its own.
 */
export async function startWorker (
  house: House, intervals?: MonitorIntervals, checkLimits?: CheckLimits
): Promise<Worker> {
  const {
    config, log, keys, subscriber, registry, runtime, media, storage, connect, starts, processId, metrics, tracing
  } = house
  const connection = await connectRedis(house.redisUrl, 'worker', log)
  const queues = createGenerationQueues({ connection, keys, log })
  const closing = new AbortController()
  const store = insistingStore(createJobStore({ redis: connection, keys, queue: queues }), log, closing.signal)
  const states = createServerStateStore(connection, keys)
  const previews = await createPreviewSender({ redis: connection, subscriber, keys })
  const sharing = shareStorageFaults(house, storage)
  const workforce = await startWorkforce({
    connection,
    subscriber,
    keys,
    queues,
    registry,
    runtime,
    media,
    storage,
    collectImages: createImageCollectors({ media, storage, log }),
    log,
    connect,
    checks: {
      store: createCheckStore(connection, keys),
      connect: ({ address }) => createRawCalls(address, { resolve: house.reach.resolve, guard: starts }),
      ...(checkLimits === undefined ? {} : { limits: checkLimits })
    },
    starts,
    processId,
    metrics,
    tracing,
    store,
    states,
    previews,
    leases: createLeaseStore(connection, keys, describeHolder(processId)),
    async otherServer (submission, except, which) {
      const ranked = await readCandidates(registry.list(), states, store.waitingOn, submission.checkpoint)
      for (const { server, state } of ranked) {
        const answers = state?.reachable === 'yes' && !server.paused
        if (except.has(server.alias) || (which === 'answering' && !answers)) continue
        if (suits(submission, await states.inventory(server.id), state?.traits ?? null)) return server
      }
      return null
    },
    tagOutput: tagOutputs(house),
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
    ...house,
    sweep: async before => await sweepMedia({
      redis: connection, keys, store, media, otherTexts: () => storedTexts(connection, keys)
    }, before)
  })
  const webhookWorker = await startWebhooks(connection, house)
  const florenceWorker = startFlorenceWorker(connection, house)
  return {
    workforce,
    async close () {
      const deadline = config.SHUTDOWN_SECONDS * 1000
      await Promise.all([
        workforce.close(deadline), webhookWorker.close(deadline), modelWorker.close(), florenceWorker.close()
      ])
      closing.abort()
      sharing.close()
      previews.close()
      await queues.close()
      connection.disconnect()
    }
  }
}

/** Whether a server can do what a job asks for, as far as is known of it. */
function suits (
  { mode, parameters, checkpoint, checkpointTitle, onMissing }: JobSubmission,
  inventory: Inventory | null, traits: ServerTraits | null
): boolean {
  if (inventory === null || traits === null) return true
  try {
    const asked = { mode, parameters, checkpoint: checkpointTitle ?? checkpoint, hints: {} }
    admit(asked, { inventory, traits }, onMissing)
    return true
  } catch (error) {
    if (error instanceof ServiceError) return false
    throw error
  }
}

/** Reads outputs and has them tagged; null where no tagger is configured. */
function tagOutputs ({ config, media, log }: House): ((name: string, signal: AbortSignal) => Promise<Tags>) | null {
  if (config.TAGGER_URL === '') return null
  const tagger = createTagger({ url: new URL(config.TAGGER_URL), log })
  return async (name, signal) => await tagger.tag(name, await wholeOutput(media, name), signal)
}
