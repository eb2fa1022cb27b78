import { isDeepStrictEqual } from 'node:util'
import type { Redis } from 'ioredis'
import type { ServerCheckReport } from '../../schemas/server-check.ts'
import type { ServerKind } from '../a1111/types.ts'
import type { Log } from '../lib/logging.ts'
import type { Keys } from '../lib/keys.ts'
import { loadScript } from '../redis/scripts.ts'

/**
 * Traits of a server that only work with it shows, in contrast to probes. They survive restarts of ours and of the
 * server; null: not yet known.
 */
export interface LearnedTraits {
  /** Whether the server has known one of our tasks; only then does "unknown" mean that a task is over. */
  readonly tasksKnown: boolean | null
  /** Whether it reports progress, and shows previews, while it generates. */
  readonly reportsProgress: boolean | null
  readonly showsPreviews: boolean | null
  /** Whether a generation stops when it is interrupted, and how many milliseconds later its answer came. */
  readonly interrupts: boolean | null
  readonly interruptMs: number | null
  /** Which settings it restores after a generation that overrides them; `saved`: only those in its config file. */
  readonly restoresOverrides: 'all' | 'saved' | 'none' | null
  /** Whether the selected checkpoint is selected again after a generation that names another. */
  readonly keepsSelection: boolean | null
  readonly errorStyles: ServerCheckReport['traits']['error_styles'] | null
  /** Routes that jobs can need and that it lacks, with their methods. */
  readonly missingRoutes: readonly string[] | null
  /** The proxy that answers in front of it. */
  readonly proxy: string | null
  /** Largest request body that got through, and smallest that was refused; null also if none was. */
  readonly bodyAcceptedBytes: number | null
  readonly bodyRefusedBytes: number | null
  /** Seconds after which a proxy gave up, and the longest time after which an answer got through. */
  readonly timeLimitSeconds: number | null
  readonly timePassedSeconds: number | null
  /** When it was last checked thoroughly, in milliseconds since the epoch, and by which version of the check. */
  readonly checkedAt: number | null
  readonly checkVersion: number | null
}

export const nothingLearned: LearnedTraits = {
  tasksKnown: null,
  reportsProgress: null,
  showsPreviews: null,
  interrupts: null,
  interruptMs: null,
  restoresOverrides: null,
  keepsSelection: null,
  errorStyles: null,
  missingRoutes: null,
  proxy: null,
  bodyAcceptedBytes: null,
  bodyRefusedBytes: null,
  timeLimitSeconds: null,
  timePassedSeconds: null,
  checkedAt: null,
  checkVersion: null
}

/** The server that the traits belong to: at another address, or of another kind, it is another server. */
export interface LearnedSubject {
  readonly id: string
  readonly baseUrl: string
  /** For a simulator, the kind that it behaves like. */
  readonly kind: ServerKind
}

/** The traits of one server, learned by the process that serves it. */
export interface ServerLearning {
  now (): LearnedTraits
  /** Stores findings; returns at once. */
  note (found: Partial<LearnedTraits>): void
}

export interface LearnedTraitsStore {
  read (subject: LearnedSubject): Promise<LearnedTraits>
  /** Adds to the known traits, or replaces them. The process that serves the server calls this. */
  learn (subject: LearnedSubject, found: Partial<LearnedTraits>): Promise<void>
  forget (serverId: string): Promise<void>
}

const subjectField = 'subject'

const learnTraits = loadScript<[record: string], [subject: string, ...fields: string[]], number>(
  new URL('scripts/learn.lua', import.meta.url))

export function createLearnedTraitsStore (redis: Redis, keys: Keys): LearnedTraitsStore {
  const keyOf = (serverId: string) => keys.key('server', serverId, 'learned')
  const textOf = ({ baseUrl, kind }: LearnedSubject) => `${kind} ${baseUrl}`

  return {
    async read (subject) {
      const { [subjectField]: of, ...fields } = await redis.hgetall(keyOf(subject.id))
      if (of !== textOf(subject)) return nothingLearned
      const found = Object.entries(fields).map(([name, value]): [string, unknown] => [name, JSON.parse(value)])
      return { ...nothingLearned, ...Object.fromEntries(found) }
    },
    async learn (subject, found) {
      const fields = Object.entries(found).flatMap(([name, value]) => [name, JSON.stringify(value)])
      if (fields.length > 0) await learnTraits(redis, [keyOf(subject.id)], [textOf(subject), ...fields])
    },
    async forget (serverId) {
      await redis.del(keyOf(serverId))
    }
  }
}

export interface ServerLearningDependencies {
  readonly store: LearnedTraitsStore
  /** The server as it is now; null before its first probe. */
  readonly subject: () => LearnedSubject | null
  readonly log: Log
}

/** Resolves once the earlier traits are loaded, if the server is known already. */
export async function createServerLearning (
  { store, subject, log }: ServerLearningDependencies
): Promise<ServerLearning> {
  let known: LearnedTraits = nothingLearned
  let knownOf: LearnedSubject | null = null

  async function load (of: LearnedSubject): Promise<void> {
    known = nothingLearned
    knownOf = of
    const found = await store.read(of)
    // Findings noted meanwhile are newer.
    if (knownOf === of) known = { ...found, ...definedOnly(known) }
  }

  function fail (error: unknown): void {
    log.debug({ server: subject()?.id, err: error }, 'what was learned of the server is not at hand')
  }

  function follow (): LearnedSubject | null {
    const of = subject()
    if (of !== null && !isDeepStrictEqual(of, knownOf)) load(of).catch(fail)
    return of
  }

  const first = subject()
  if (first !== null) await load(first).catch(fail)
  return {
    now () {
      follow()
      return known
    },
    note (found) {
      const of = follow()
      const fresh = Object.entries(found).filter(([name, value]) => known[name as keyof LearnedTraits] !== value)
      if (of === null || fresh.length === 0) return
      known = { ...known, ...found }
      store.learn(of, Object.fromEntries(fresh)).catch(fail)
    }
  }
}

function definedOnly (traits: LearnedTraits): Partial<LearnedTraits> {
  return Object.fromEntries(Object.entries(traits).filter(([, value]) => value !== null))
}
