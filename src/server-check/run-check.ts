import {
  type CheckStepName, checkVersion, type ServerCheckReport, type ServerCheckStep
} from '../../schemas/server-check.ts'
import type { A1111Client } from '../a1111/client.ts'
import { rulesOf } from '../a1111/kinds/registry.ts'
import type { RawCalls } from '../a1111/raw-calls.ts'
import { GenerationFailure } from '../a1111/types.ts'
import type { TaskControl } from '../jobs/interrupt.ts'
import { DeadlinePassed, withDeadline } from '../lib/deadline.ts'
import { messageOf } from '../lib/errors.ts'
import type { Log } from '../lib/logging.ts'
import { type LearnedTraits, nothingLearned } from '../servers/learned-traits.ts'
import {
  addFinding, type CheckFacts, type CheckReport, type CheckRun, type CheckOptions, noFacts, writeReport
} from './report.ts'
import {
  CheckEnded, type CheckLimits, type CheckSession, createCheckSession, NotFoundOut, defaultLimits
} from './session.ts'
import { findErrorStyles, findRoutes, identify } from './steps/answers.ts'
import { findInterrupt, findTasks, generateOnce, judgeProgress } from './steps/generations.ts'
import { findBodyLimit, findTimeLimit } from './steps/limits.ts'
import { findRestoring, findSelection } from './steps/settings.ts'
import { isEmpty, nothingToUndo, putBack, type UndoNotes } from './undo.ts'

export interface CheckDependencies {
  readonly id: string
  readonly alias: string | null
  readonly baseUrl: string
  readonly redisVersion: string | null
  readonly requested: CheckOptions
  readonly client: A1111Client
  readonly calls: RawCalls
  /** Probes and interrupts, while this process serves the server. */
  readonly control: TaskControl
  readonly undo: UndoNotes
  readonly limits?: CheckLimits
  /** Cancels the check; everything is restored then. */
  readonly cancelled: AbortSignal
  /** Another process serves the server now: nothing at it must be touched any more. */
  readonly lost: AbortSignal
  readonly onSteps: (steps: readonly ServerCheckStep[]) => void
  readonly log: Log
}

/** The result of a check. `learned` has the traits that it adds to the known ones. */
export interface CheckResult {
  readonly report: CheckReport
  readonly learned: Partial<LearnedTraits>
}

type Work = (session: CheckSession, facts: CheckFacts) => Promise<void>

interface Step {
  readonly name: CheckStepName
  readonly title: string
  /** Longest time for it, in milliseconds. */
  readonly maxMs: number
  readonly work: Work
}

/** Generations that a check makes at most, plus two for each of its options. */
const defaultGenerations = 9

const minute = 60_000

/** In this order: later steps use the findings of earlier ones. */
const plan: readonly Step[] = [
  { name: 'identity', title: 'What the server is', maxMs: minute, work: identify },
  { name: 'routes', title: 'Which routes it has', maxMs: 2 * minute, work: findRoutes },
  { name: 'errors', title: 'How it words errors', maxMs: 6 * minute, work: findErrorStyles },
  { name: 'generation', title: 'Whether it generates', maxMs: 6 * minute, work: generateOnce },
  { name: 'tasks', title: 'Whether it distinguishes tasks', maxMs: 6 * minute, work: findTasks },
  { name: 'interrupt', title: 'Whether it stops when interrupted', maxMs: 6 * minute, work: findInterrupt },
  { name: 'progress', title: 'Whether it reports progress', maxMs: minute, work: judgeProgress },
  { name: 'overrides', title: 'Whether it restores overridden settings', maxMs: 10 * minute, work: findRestoring },
  { name: 'selection', title: 'Whether it keeps its selected checkpoint', maxMs: 15 * minute, work: findSelection },
  { name: 'body_limit', title: 'How large a request can be', maxMs: 3 * minute, work: findBodyLimit },
  { name: 'time_limit', title: 'How long a proxy waits for an answer', maxMs: 100 * minute, work: findTimeLimit }
]

const putBackStep = { name: 'put_back', title: 'Putting everything back' } as const
/** Longest time for restoring everything, in milliseconds. */
const putBackMs = 10 * minute

/** Steps of a check that has not begun. */
export function waitingSteps (): ServerCheckStep[] {
  return [...plan, putBackStep].map(({ name, title }) => ({ name, title, state: 'waiting', note: null, duration_ms: null }))
}

/**
 * Finds out how a server behaves. It notes every change in advance and restores it at the end, even after a failure.
 * Nothing else must be sent to the server meanwhile.
 * @throws the reason of `lost` when that fires: then another process restores everything
 */
export async function runCheck (dependencies: CheckDependencies): Promise<CheckResult> {
  const {
    id, client, calls, control, undo, cancelled, lost, requested: requestedOptions, onSteps, log, limits = defaultLimits
  } = dependencies
  const startedAt = Date.now()
  const facts = noFacts(requestedOptions)
  const steps = waitingSteps()
  const requests: ServerCheckReport['requests'] = []
  const { checkpoint, minutes } = requestedOptions
  const maxGenerations = defaultGenerations + (checkpoint === null ? 0 : 2) + (minutes === null ? 0 : 2)
  let present: CheckStepName = 'wait'
  let end: Pick<CheckRun, 'outcome' | 'reason'> = { outcome: 'finished', reason: null }
  let made = 0

  function enter (name: CheckStepName, change: Partial<ServerCheckStep>): void {
    const index = steps.findIndex(step => step.name === name)
    const before = steps[index]
    if (before !== undefined) steps[index] = { ...before, ...change }
    onSteps(steps)
  }

  async function take ({ name, maxMs, work }: Step): Promise<void> {
    present = name
    enter(name, { state: 'running' })
    const begin = performance.now()
    const over = (change: Partial<ServerCheckStep>) => {
      enter(name, { duration_ms: Math.round(performance.now() - begin), ...change })
    }
    try {
      await withDeadline(maxMs, [cancelled, lost], async signal => {
        ofStep = signal
        await work(session, facts)
      })
      over({ state: 'done' })
    } catch (error) {
      lost.throwIfAborted()
      const note = noteOf(error, cancelled)
      over({ state: 'not_found_out', note })
      if (cancelled.aborted || !isAboutOneStep(error)) throw error
      addFinding(facts, name, 'unknown', `Not found out: ${lowerFirst(steps.find(step => step.name === name)?.title ?? name)}. ${note}`)
    }
  }

  let ofStep = cancelled
  const session = createCheckSession({
    id,
    calls,
    client,
    interrupt: control.interrupt,
    undo,
    limits,
    signal: () => ofStep,
    maxGenerations,
    takesSettings: () => rulesOf(facts.traits).overrideSettings !== null,
    step: () => present,
    requests
  })
  try {
    for (const step of plan) await take(step)
  } catch (error) {
    lost.throwIfAborted()
    end = endOf(error, cancelled, facts)
    if (end.outcome !== 'cancelled') log.info({ err: error }, 'a check of a server stopped early')
  }
  made = session.made()
  present = 'put_back'
  const state = await putEverythingBack()
  const learned = learnedOf(facts, end.outcome)
  const run: CheckRun = {
    id,
    alias: dependencies.alias,
    baseUrl: dependencies.baseUrl,
    redisVersion: dependencies.redisVersion,
    startedAt,
    ...end,
    steps,
    requests,
    generations: { made, at_most: maxGenerations },
    putBack: state
  }
  return { report: writeReport(facts, { ...nothingLearned, ...learned }, run), learned }

  async function putEverythingBack (): Promise<CheckReport['put_back']> {
    const record = undo.read()
    if (isEmpty(record)) {
      enter('put_back', { state: 'skipped', note: 'Nothing had to be put back.', duration_ms: 0 })
      return session.made() > 0 ? 'done' : 'nothing'
    }
    enter('put_back', { state: 'running' })
    const begin = performance.now()
    const over = (change: Partial<ServerCheckStep>) => {
      enter('put_back', { duration_ms: Math.round(performance.now() - begin), ...change })
    }
    try {
      const left = await withDeadline(putBackMs, [lost], async signal =>
        await putBack(record, { calls, control: session.control, signal }))
      if (left.length === 0) await undo.write(nothingToUndo)
      over(left.length === 0 ? { state: 'done' } : { state: 'not_found_out', note: `Not put back: ${left.join(', ')}.` })
      return left.length === 0 ? 'done' : 'failed'
    } catch (error) {
      lost.throwIfAborted()
      over({ state: 'not_found_out', note: messageOf(error) })
      return 'pending'
    }
  }
}

function lowerFirst (text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1)
}

/** Whether the other steps make sense after this failure. */
function isAboutOneStep (error: unknown): boolean {
  if (error instanceof CheckEnded) return false
  if (error instanceof NotFoundOut || error instanceof DeadlinePassed) return true
  if (!(error instanceof GenerationFailure)) return true
  return error.failureClass !== 'server-down' && error.failureClass !== 'internal'
}

function noteOf (error: unknown, cancelled: AbortSignal): string {
  return cancelled.aborted ? 'It was cancelled.' : messageOf(error)
}

function endOf (error: unknown, cancelled: AbortSignal, facts: CheckFacts): Pick<CheckRun, 'outcome' | 'reason'> {
  if (cancelled.aborted) return { outcome: 'cancelled', reason: null }
  if (error instanceof CheckEnded) {
    if (error.outcome === 'broken_off') addFinding(facts, 'generation', 'harm', error.message)
    return { outcome: error.outcome, reason: error.message }
  }
  if (facts.traits === null) return { outcome: 'could_not_run', reason: messageOf(error) }
  return { outcome: 'broken_off', reason: `The server stopped answering: ${messageOf(error)}` }
}

/** Only new findings replace earlier ones. */
function learnedOf ({ learned }: CheckFacts, outcome: CheckReport['outcome']): Partial<LearnedTraits> {
  if (outcome === 'could_not_run') return {}
  return { ...learned, checkedAt: Date.now(), checkVersion }
}
