import type { CheckStepName, ServerCheckFinding } from '../../schemas/server-check.ts'
import type { ServerTraits } from '../a1111/types.ts'
import type { LearnedTraits } from '../servers/learned-traits.ts'

/** One look at the progress of a generation of the check. */
export interface ProgressLook {
  readonly fraction: number
  readonly step: number | null
  readonly steps: number | null
  readonly hasPreview: boolean
}

/** What a check was asked for beyond the usual. */
export interface CheckWishes {
  /** Exact title at the server. */
  readonly checkpoint: string | null
  readonly minutes: number | null
}

/** What a check knows so far. Each step adds to it. */
export interface CheckFacts {
  readonly wishes: CheckWishes
  traits: ServerTraits | null
  version: string | null
  checkpoints: number | null
  /** As the server reported them before anything was changed. */
  options: Readonly<Record<string, unknown>>
  /** `POST /path`, as far as the server says; null where it does not. */
  routes: ReadonlySet<string> | null
  /** For one step of 64 × 64, as the last generation took it. */
  secondsPerStep: number
  longestAnswerSeconds: number
  readonly looks: ProgressLook[]
  learned: { -readonly [Name in keyof LearnedTraits]?: LearnedTraits[Name] }
  readonly findings: ServerCheckFinding[]
}

export function noFacts (wishes: CheckWishes): CheckFacts {
  return {
    wishes,
    traits: null,
    version: null,
    checkpoints: null,
    options: {},
    routes: null,
    secondsPerStep: 0.05,
    longestAnswerSeconds: 0,
    looks: [],
    learned: {},
    findings: []
  }
}

/** @param remedy what helps, where the reader has something to do */
export function addFinding (
  { findings }: CheckFacts, topic: CheckStepName, level: ServerCheckFinding['level'], sentence: string,
  remedy: string | null = null
): void {
  findings.push({ topic, level, sentence, remedy })
}
