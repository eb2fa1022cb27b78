import { setTimeout as sleep } from 'node:timers/promises'
import { fieldsOf, numberOf, objectOf, textOf } from '../../lib/json-values.ts'
import { parsePythonJson } from '../../lib/exact-json.ts'
import type { RawAnswer } from '../../a1111/raw-calls.ts'
import { addFinding, type CheckFacts } from '../report.ts'
import { CheckEnded, NotFoundOut, type CheckSession, type RunningGeneration } from '../session.ts'

/** Time limit of a progress request, in milliseconds. */
const lookTimeout = 5000

/** Whether an answer contains an image. */
export function hasImage ({ status, json }: RawAnswer): boolean {
  const { images } = fieldsOf(json)
  return status === 200 && Array.isArray(images) && images.some(image => typeof image === 'string' && image !== '')
}

/** `info` of an answer, which is JSON within JSON. */
export function infoOf ({ json }: RawAnswer): Readonly<Record<string, unknown>> {
  const { info } = fieldsOf(json)
  if (typeof info !== 'string') return fieldsOf(info)
  try {
    return fieldsOf(parsePythonJson(info))
  } catch {
    return {}
  }
}

/** Makes one plain generation; nothing else can be found out without it. */
export async function generateOnce (session: CheckSession, facts: CheckFacts): Promise<void> {
  const answer = await session.generate({ steps: 1 })
  if (!hasImage(answer)) {
    throw new CheckEnded('broken_off',
      `A plain generation of 64 × 64 with one step brought no image (status ${answer.status}), so nothing further can be found out.`)
  }
  facts.version ??= safeVersion(textOf(infoOf(answer).version))
  noteSeconds(facts, answer, 1)
  addFinding(facts, 'generation', 'good', `It generates: 64 × 64 with one step took ${answer.milliseconds} ms.`)
}

/** Servers can write anything there. */
function safeVersion (version: string | null): string | null {
  return version !== null && /^[\w.+-]{1,60}$/.test(version) ? version : null
}

function noteSeconds (facts: CheckFacts, { milliseconds }: RawAnswer, steps: number): void {
  const seconds = milliseconds / 1000
  facts.secondsPerStep = Math.max(0.0005, seconds / steps)
  facts.longestAnswerSeconds = Math.max(facts.longestAnswerSeconds, seconds)
}

/** Finds whether the server knows a task by the id that we gave it. */
export async function findTasks (session: CheckSession, facts: CheckFacts): Promise<void> {
  const found = { route: true, task: false }
  const look = async (taskId: string) => {
    const { status, json } = await session.calls.call({
      method: 'POST',
      path: '/internal/progress',
      body: JSON.stringify({ id_task: taskId, live_preview: false }),
      timeoutMs: lookTimeout,
      signal: session.signal
    })
    found.route = status !== 404 && status !== 405
    const view = fieldsOf(json)
    found.task ||= view.active === true || view.queued === true || view.completed === true
  }
  let taskId = ''
  const answer = await session.generate({
    steps: 2,
    async meanwhile (running) {
      taskId = running.taskId
      while (!running.over.aborted && found.route && !found.task) {
        await look(running.taskId)
        await rest(session, running)
      }
    }
  })
  // A server that knows tasks remembers the one that it just finished.
  if (found.route && !found.task) await look(taskId)
  if (!hasImage(answer)) throw new NotFoundOut(`The generation brought no image (status ${answer.status}).`)
  noteSeconds(facts, answer, 2)
  facts.learned.tasksKnown = found.task
  session.noteTasks(found.task)
  if (found.task) {
    addFinding(facts, 'tasks', 'good', 'It distinguishes tasks: our generation appeared under its own id.')
    return
  }
  const why = found.route
    ? '/internal/progress does not know the tasks of the API'
    : 'there is no /internal/progress, as with --nowebui'
  addFinding(facts, 'tasks', 'note', `It does not distinguish tasks: ${why}. StableQueue recognises its own generation ` +
    'by its start time, and interrupts none that could be another user\'s.')
}

/** Steps and images of the generation to interrupt, and its approximate duration without the interrupt, in seconds. */
const interrupted = { minSteps: 20, maxSteps: 150, minImages: 4, maxImages: 16, seconds: 6 } as const
/** Much of the time of a small generation is not sampling, on a fast machine most of it. */
const shareOfSteps = 0.25
/** From one interrupt to the next, in milliseconds. */
const interruptRepeat = 1000
/**
 * When to interrupt it without having seen a preview: A1111 shows one every 10 steps. Only by time if the server
 * reports no steps, or is so slow that a preview is not worth the wait.
 */
const withoutPreview = { step: 12, milliseconds: 1500, slowMilliseconds: 20_000 } as const

/** Finds whether a generation stops when it is interrupted, and how soon. */
export async function findInterrupt (session: CheckSession, facts: CheckFacts): Promise<void> {
  const { minSteps, maxSteps, minImages, maxImages, seconds } = interrupted
  const wanted = seconds / (facts.secondsPerStep * shareOfSteps)
  const steps = Math.min(maxSteps, Math.max(minSteps, Math.ceil(wanted / minImages)))
  const images = Math.min(maxImages, Math.max(minImages, Math.ceil(wanted / steps)))
  let interruptedAt: number | null = null
  /** Its progress then: a generation in its last image can have stopped. */
  let fractionThen = 0
  let lastStep = 0
  let begunAt = Infinity
  let first: { readonly step: number, readonly at: number } | undefined
  let pace: number | null = null
  const begin = performance.now()
  const answer = await session.generate({
    steps,
    fields: { n_iter: images },
    async meanwhile (running) {
      let sentAt = -Infinity
      for (;;) {
        const seen = await lookAtProgress(session, facts, running)
        if (running.over.aborted) return
        if (seen !== null && running.isOurs(seen.progress)) {
          const step = seen.look.step ?? 0
          if (step > lastStep) {
            first ??= { step, at: performance.now() }
            pace = step > first.step ? (performance.now() - first.at) / (step - first.step) / 1000 : pace
          }
          lastStep = Math.max(lastStep, step)
          if (step > 0 || seen.look.fraction > 0) begunAt = Math.min(begunAt, performance.now())
          const patience = lastStep > 0 ? withoutPreview.slowMilliseconds : withoutPreview.milliseconds
          const isDue = seen.look.hasPreview || step >= withoutPreview.step || performance.now() - begunAt > patience
          if (isDue && performance.now() - sentAt > interruptRepeat) {
            sentAt = performance.now()
            if (interruptedAt === null) fractionThen = seen.look.fraction
            interruptedAt ??= sentAt
            if (!await session.control.interrupt(Infinity, running.over)) return
          }
        }
        await rest(session, running)
      }
    }
  })
  const took = interruptedAt === null ? null : Math.round(performance.now() - interruptedAt)
  noteSecondsOfWhole(facts, performance.now() - begin)
  // The time of small generations includes the work before and after the steps.
  facts.secondsPerStep = Math.min(facts.secondsPerStep, pace ?? facts.secondsPerStep)
  if (took === null) {
    throw new NotFoundOut(facts.looks.length === 0
      ? 'It reports no progress, so when to interrupt is not known.'
      : 'The generation finished before it could be interrupted, or could not be distinguished from others.')
  }
  if (answer.status !== 200) throw new NotFoundOut(`The interrupted generation was answered with status ${answer.status}.`)
  // A generation that stops omits the other images, on any machine.
  const { images: made } = fieldsOf(answer.json)
  const stopped = Array.isArray(made) && made.length < images
  if (!stopped && fractionThen > 0.5) throw new NotFoundOut('The generation was nearly over when it was interrupted.')
  facts.learned.interrupts = stopped
  facts.learned.interruptMs = stopped ? took : null
  if (stopped) {
    addFinding(facts, 'interrupt', took > 15_000 ? 'note' : 'good', `It stops when interrupted: after ${inSeconds(took)}.`)
  } else {
    addFinding(facts, 'interrupt', 'harm', 'It does not stop when interrupted: it went on to its last image. ' +
      'A cancelled job runs to its end there, and the next one waits for it.',
    'Update the server, or let the proxy in front of it pass POST /sdapi/v1/interrupt.')
  }
}

function noteSecondsOfWhole (facts: CheckFacts, milliseconds: number): void {
  facts.longestAnswerSeconds = Math.max(facts.longestAnswerSeconds, milliseconds / 1000)
}

/** Judges the progress readings of the earlier generations. */
export async function judgeProgress (_session: CheckSession, facts: CheckFacts): Promise<void> {
  const { looks } = facts
  const moved = looks.some(({ fraction }) => fraction > 0)
  const counts = looks.some(({ step, steps }) => step !== null && steps !== null && steps > 0)
  facts.learned.reportsProgress = looks.length > 0 && moved
  facts.learned.showsPreviews = looks.some(({ hasPreview }) => hasPreview)
  if (looks.length === 0 || !moved) {
    addFinding(facts, 'progress', 'note', 'It reports no progress while it generates; jobs stay at 0 % until they are done.')
    return
  }
  addFinding(facts, 'progress', 'good', `It reports progress${counts ? ', with steps' : ', without steps'}.`)
  if (facts.learned.showsPreviews) addFinding(facts, 'progress', 'good', 'It shows previews.')
  else {
    addFinding(facts, 'progress', 'note', 'It showed no preview of the longest generation.',
      'Switch on "Show live previews" in its settings, and let it show one every few steps.')
  }
}

async function lookAtProgress (session: CheckSession, facts: CheckFacts, { taskId, over }: RunningGeneration) {
  const progress = await session.control.progress(taskId, { signal: over }).catch(() => null)
  if (progress === null || over.aborted) return null
  const { json } = await session.calls.call({
    method: 'GET', path: '/sdapi/v1/progress?skip_current_image=false', timeoutMs: lookTimeout, signal: over
  })
  const view = fieldsOf(json)
  const state = objectOf(view.state)
  const look = {
    fraction: numberOf(view.progress) ?? 0,
    step: numberOf(state?.sampling_step),
    steps: numberOf(state?.sampling_steps),
    hasPreview: textOf(view.current_image) !== null
  }
  if (progress.busy) facts.looks.push(look)
  return { progress, look }
}

async function rest ({ limits }: CheckSession, { over }: RunningGeneration): Promise<void> {
  await sleep(limits.lookMs, undefined, { signal: over }).catch(() => undefined)
}

export function inSeconds (milliseconds: number): string {
  return milliseconds < 1000 ? `${milliseconds} ms` : `${(milliseconds / 1000).toFixed(1)} s`
}
