import type { FlorenceDesk } from '../florence/desk.ts'
import type { House } from '../house.ts'
import type { JobNotices } from '../jobs/notices.ts'
import type { Submitter } from '../jobs/submit.ts'
import { realPause, type Pause } from './answer.ts'
import { createCallerJobs, type CallerJobs } from './callers.ts'
import { createErrands, type Errands } from './errands.ts'
import { createServerFaces, type ServerFaces } from './faces.ts'
import { createJobSearch, type JobSearch } from './job-search.ts'
import { createLastKnown, keptPaths } from './last-known.ts'
import { createOptionsDesk, type OptionsDesk } from './options.ts'
import { createOwnOptions, type OwnOptionsStore } from './own-options.ts'
import { createPassThrough, type PassThrough } from './pass-through.ts'
import { createOutcomes, type Outcomes } from './outcome.ts'
import { answersLooks } from '../servers/server.ts'
import { createTurns } from '../servers/turns.ts'
import { createCallerTasks, type CallerTasks } from './tasks.ts'
import { createShortIds, type ShortIds } from './short-ids.ts'

/** What stands behind the routes of the drop-in. */
export interface DropIn {
  readonly house: House
  readonly submitter: Submitter
  readonly notices: JobNotices
  readonly faces: ServerFaces
  readonly own: OwnOptionsStore
  readonly options: OptionsDesk
  readonly callerJobs: CallerJobs
  readonly callerTasks: CallerTasks
  readonly outcomes: Outcomes
  readonly shortIds: ShortIds
  readonly search: JobSearch
  readonly errands: Errands
  /** Null where none is configured. */
  readonly florence: FlorenceDesk | null
  readonly passThrough: PassThrough
  /** Between two blanks of an answer that waits. */
  readonly pause: Pause
  close (): Promise<void>
}

export interface DropInDependencies {
  readonly house: House
  readonly submitter: Submitter
  readonly notices: JobNotices
  /** Fires when the service begins to stop. */
  readonly stopping: AbortSignal
  /** Real time unless a test says otherwise. */
  readonly pause?: Pause | undefined
}

export async function createDropIn (
  { house, submitter, notices, stopping, pause = realPause }: DropInDependencies
): Promise<DropIn> {
  const { redis, subscriber, keys, registry, states, store, list, config, connect, media } = house
  const faces = createServerFaces({
    registry, states, waitingOn: store.waitingOn, connect, lastKnown: createLastKnown(redis, keys)
  })
  const turns = await createTurns({ redis, subscriber, keys })
  const florence = house.florence?.desk ?? null
  const errands = createErrands(house.models.downloads, florence)
  const own = createOwnOptions(redis, keys)
  const callerJobs = createCallerJobs(redis, keys, store)
  const stopReading = readWhenReachable(house, faces)
  return {
    house,
    submitter,
    notices,
    faces,
    own,
    options: createOptionsDesk({ faces, own, registry, states }),
    callerJobs,
    outcomes: createOutcomes({ notices, media, callerJobs, stopping }),
    callerTasks: createCallerTasks(redis, keys),
    shortIds: createShortIds(redis, keys),
    search: createJobSearch(list, errands),
    errands,
    florence,
    pause,
    passThrough: createPassThrough({
      faces,
      turns,
      timeoutMs: config.JOB_TIMEOUT_SECONDS * 1000,
      maxAnswerBytes: config.RESULT_MAX_MIB * 1024 * 1024
    }),
    async close () {
      stopReading()
      turns.close()
      await faces.close()
    }
  }
}

/** Processes that hear of the same server at once read its lists once, in milliseconds. */
const readTogether = 30_000

/** Reads what clients may ask of a server later, when it may be away; gives what ends it. */
function readWhenReachable ({ redis, subscriber, keys, registry, states, log }: House, faces: ServerFaces): () => void {
  const channel = keys.channel('jobs')

  async function readKept (serverId: string): Promise<void> {
    const server = registry.byId(serverId)
    if (server === undefined || !server.enabled) return
    const claim = await redis.set(keys.key('server', serverId, 'answers-read'), '1', 'PX', readTogether, 'NX')
    if (claim !== 'OK') return
    // at once, so that it is over soon; the client keeps few connections
    await Promise.allSettled(keptPaths.map(async path => await faces.read(server, path)))
  }

  function read (serverId: string): void {
    readKept(serverId).catch(error => { log.debug({ server: serverId, err: error }, 'lists could not be kept') })
  }

  function hear (from: string, message: string): void {
    if (from !== channel || !message.includes('"server-up"')) return
    const { kind, server } = JSON.parse(message) as { kind: string, server: string }
    if (kind === 'server-up') read(server)
  }

  subscriber.on('message', hear)
  states.readMany(registry.list().map(({ id }) => id)).then(known => {
    registry.list().forEach(({ id }, index) => { if (answersLooks(known[index] ?? null)) read(id) })
  }, () => undefined)
  return () => { subscriber.off('message', hear) }
}
