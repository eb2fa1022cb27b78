import { noteFloat } from '../lib/exact-json.ts'
import { describeState, type State } from './state.ts'

/**
 * A1111's bookkeeping of tasks by id, with its defects: a task that raised after its start stays current until
 * another starts, one that raised before its start stays pending for ever, and only 16 finished ones are kept.
 */
export interface Tasks {
  add (id: string): void
  start (id: string): void
  finish (id: string): void
  /** Null if the request names none, which is the current one while there is none. */
  look (id: string | null): { active: boolean, queued: boolean, completed: boolean }
  pending (): readonly string[]
}

const rememberedFinished = 16

export function createTasks (): Tasks {
  const pending = new Set<string>()
  const finished: string[] = []
  let current: string | null = null

  return {
    add (id) {
      pending.add(id)
    },
    start (id) {
      current = id
      pending.delete(id)
    },
    finish (id) {
      if (current === id) current = null
      finished.push(id)
      if (finished.length > rememberedFinished) finished.shift()
    },
    look: id => ({
      active: id === current,
      queued: id !== null && pending.has(id),
      completed: id !== null && finished.includes(id)
    }),
    pending: () => [...pending]
  }
}

/** An id as A1111 generates one if the client gave none, such as `task(txt2img-7K2Q0ZD)`. */
export function createTaskId (kind: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'
  const letters = Array.from({ length: 7 }, () => alphabet[Math.floor(Math.random() * alphabet.length)])
  return `task(${kind}-${letters.join('')})`
}

/** Options that decide over previews. */
export interface PreviewOptions {
  readonly enabled: boolean
  /** -1 only at the end of a pass. */
  readonly everySteps: number
}

/** Share of the running job that is done, 0 to 1, without the constant that /sdapi/v1/progress adds. */
function shareDone (state: State): number {
  if (state.jobCount <= 0) return 0
  const inPass = state.samplingSteps > 0 ? state.samplingStep / state.samplingSteps : 0
  return (state.jobNo + inPass) / state.jobCount
}

/** Draws a new preview when enough steps went by since the last look. */
async function refreshPreview (state: State, options: PreviewOptions): Promise<void> {
  const { preview } = state
  if (!options.enabled || options.everySteps === -1 || preview.draw === null) return
  if (state.samplingStep - preview.shownAtStep < options.everySteps) return
  preview.shownAtStep = state.samplingStep
  preview.id += 1
  const image = await preview.draw()
  preview.image = image
}

/** The answer of GET /sdapi/v1/progress: global, for any client's job. */
export async function describeProgress (
  state: State, options: PreviewOptions, requested: { readonly skipCurrentImage: boolean }
): Promise<Record<string, unknown>> {
  if (state.jobCount === 0) {
    return withFloats({
      progress: 0, eta_relative: 0, state: describeState(state), current_image: null, textinfo: state.textinfo
    })
  }
  const share = 0.01 + shareDone(state)
  const elapsed = (performance.now() - state.startedAt) / 1000
  const answer = {
    progress: Math.min(share, 1),
    eta_relative: elapsed / share - elapsed,
    state: describeState(state)
  }
  await refreshPreview(state, options)
  const image = requested.skipCurrentImage ? null : state.preview.image
  return withFloats({ ...answer, current_image: image?.toString('base64') ?? null, textinfo: state.textinfo })
}

function withFloats (answer: Record<string, unknown>): Record<string, unknown> {
  for (const name of ['progress', 'eta_relative', 'eta']) noteFloat(answer, name)
  return answer
}

/** The answer of POST /internal/progress for one task. */
export async function describeTaskProgress (
  state: State, tasks: Tasks, options: PreviewOptions,
  requested: { readonly task: string | null, readonly shownPreview: number, readonly withPreview: boolean }
): Promise<Record<string, unknown>> {
  const task = tasks.look(requested.task)
  if (!task.active) {
    const pending = tasks.pending()
    const textinfo = task.queued && requested.task !== null
      ? `In queue: ${pending.indexOf(requested.task) + 1}/${pending.length}`
      : 'Waiting...'
    return { ...task, progress: null, eta: null, live_preview: null, id_live_preview: -1, textinfo }
  }
  const share = Math.min(shareDone(state), 1)
  const elapsed = (performance.now() - state.startedAt) / 1000
  const answer = { ...task, progress: share, eta: share > 0 ? elapsed / share - elapsed : null }
  if (options.enabled && requested.withPreview) await refreshPreview(state, options)
  const { image, id } = state.preview
  const isNew = options.enabled && requested.withPreview && image !== null && id !== requested.shownPreview
  return withFloats({
    ...answer,
    live_preview: isNew ? `data:image/png;base64,${image.toString('base64')}` : null,
    id_live_preview: isNew ? id : requested.shownPreview,
    textinfo: state.textinfo
  })
}
