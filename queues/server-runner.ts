import type { Redis } from 'ioredis'
import type { A1111Client } from '../src/a1111/client.ts'
import { createImageCheck } from '../src/jobs/check-images.ts'
import type { JobClaims } from '../src/jobs/claims.ts'
import { createJudge } from '../src/jobs/judge-failure.ts'
import { prepareGeneration } from '../src/jobs/prepare-generation.ts'
import { createGenerationRunner, type GenerationRunnerDependencies } from '../src/jobs/run-generation.ts'
import type { PreviewSender } from '../src/jobs/send-previews.ts'
import type { JobStore } from '../src/jobs/store.ts'
import { createTaskKnowledge } from '../src/jobs/task-knowledge.ts'
import type { Keys } from '../src/lib/keys.ts'
import type { Log } from '../src/lib/logging.ts'
import type { Semaphore } from '../src/lib/semaphore.ts'
import type { StorageCheck } from '../src/media/storage.ts'
import type { MediaStore } from '../src/media/store.ts'
import { createFreshLists } from '../src/servers/fresh-lists.ts'
import { createServerLearning } from '../src/servers/learned-traits.ts'
import type { ServerMonitor } from '../src/servers/monitor.ts'
import type { ProcessConnection } from '../src/servers/options-access.ts'
import { createOptionsKeeper } from '../src/servers/options-keeper.ts'
import type { Server } from '../src/servers/registry.ts'
import type { ServerStateStore } from '../src/servers/state-store.ts'
import type { ServerFeed } from './server-feed.ts'

export interface ServerRunnerDependencies {
  readonly server: () => Server
  readonly connection: Redis
  readonly keys: Keys
  readonly store: JobStore
  readonly claims: JobClaims
  readonly previews: PreviewSender
  readonly media: MediaStore
  readonly storage: StorageCheck
  readonly collectImages: GenerationRunnerDependencies['collectImages']
  readonly states: ServerStateStore
  readonly log: Log
  /** Names this process among all that share Redis. */
  readonly processId: string
  /** Of its lease of the server. */
  readonly fence: number
  /** Whether this process holds that lease now. @throws Error if Redis does not answer */
  readonly holdsLease: () => Promise<boolean>
  /** Whether that is so and all notices arrive, as far as this process knows without asking Redis. */
  readonly isSure: () => boolean
  readonly connect: (server: Server) => A1111Client
  readonly otherServer: GenerationRunnerDependencies['otherServer']
  readonly tagOutput: GenerationRunnerDependencies['tagOutput']
  readonly limits: GenerationRunnerDependencies['limits']
  readonly metrics: GenerationRunnerDependencies['metrics']
  readonly tracing: GenerationRunnerDependencies['tracing']
}

/** The parts of a server's worker that its generations use. */
export interface RunnerParts {
  readonly client: A1111Client
  readonly connection: ProcessConnection
  readonly monitor: ServerMonitor
  readonly feed: ServerFeed
  readonly sendSlot: Semaphore
  /** Whether jobs can begin now. */
  readonly mayBegin: () => boolean
}

/** What runs the jobs of one server, and what is learned from them. */
export async function createServerRunner (
  dependencies: ServerRunnerDependencies, { client, connection, monitor, feed, sendSlot, mayBegin }: RunnerParts
) {
  const { server, keys, store, claims, media, states, log, connect, ...shared } = dependencies
  const serverId = server().id
  const lists = createFreshLists({ redis: shared.connection, keys, states, connect: () => connect(server()), log })
  const lastKnown = await states.traits(serverId)
  const learning = await createServerLearning({
    store: states.learned,
    subject () {
      const traits = monitor.traits() ?? lastKnown
      return traits === null
        ? null
        : { id: serverId, baseUrl: server().address.baseUrl, kind: traits.simulates ?? traits.kind }
    },
    log
  })
  const tasks = createTaskKnowledge(client, learning, () => monitor.traits() ?? lastKnown)
  const options = await createOptionsKeeper({
    server,
    client,
    connection,
    store: states.options,
    inventory: async () => await states.lastInventory(serverId),
    traits: monitor.traits,
    learned: learning.now,
    log
  })
  const { previews, storage, collectImages, limits, metrics, tracing, processId, fence, holdsLease, isSure } = shared
  const runner = createGenerationRunner({
    server,
    client,
    tasks,
    marks: states.marks,
    monitor,
    options,
    mayBegin,
    onMeasured: feed.learn,
    judge: createJudge({
      alias: () => server().alias,
      tasks,
      monitor,
      onMeasured: feed.learn,
      checkedLimit: {
        seconds: () => learning.now().timeLimitSeconds,
        raised (seconds) { learning.note({ timeLimitSeconds: null, timePassedSeconds: Math.round(seconds * 10) / 10 }) }
      }
    }),
    previews,
    store,
    storage,
    collectImages,
    checkImages: createImageCheck(media, log),
    log,
    limits,
    sendSlot,
    metrics,
    tracing,
    processId,
    fence,
    holdsLease,
    isSure,
    otherServer: shared.otherServer,
    claimer: feed,
    unclaim: async what => await claims.unclaim(serverId, what),
    onBegun: feed.onBegun,
    onFree: feed.onFree,
    tagOutput: shared.tagOutput,
    prepare: job => prepareGeneration(job, {
      media,
      checkCompatibility: async (request, onMissing) => await lists.checkCompatibility(server(), request, onMissing),
      traits: monitor.traits
    })
  })
  return { runner, options, tasks, learning }
}
