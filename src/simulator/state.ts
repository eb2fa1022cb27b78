/**
 * A1111's one global state object. It belongs to whatever job runs and keeps the last job's values when none
 * does, which is why an idle server may say that it was interrupted.
 */
export interface State {
  skipped: boolean
  interrupted: boolean
  stoppingGeneration: boolean
  job: string
  /** -1 between begin and the first iteration, 0 when idle. */
  jobCount: number
  /** Local time as YYYYMMDDHHMMSS; "0" before the first job. */
  jobTimestamp: string
  jobNo: number
  samplingStep: number
  samplingSteps: number
  /** Milliseconds of `performance.now()` at begin. */
  startedAt: number
  textinfo: string | null
  preview: Preview
}

/** The live preview: refreshed only when somebody looks, and only so many steps after the last time. */
export interface Preview {
  id: number
  shownAtStep: number
  /** A PNG, drawn when it was asked for. */
  image: Buffer | null
  /** Draws what the latent looks like now; null while there is none. */
  draw: (() => Promise<Buffer>) | null
}

export function createState (): State {
  return {
    skipped: false,
    interrupted: false,
    stoppingGeneration: false,
    job: '',
    jobCount: 0,
    jobTimestamp: '0',
    jobNo: 0,
    samplingStep: 0,
    samplingSteps: 0,
    startedAt: performance.now(),
    textinfo: null,
    preview: { id: 0, shownAtStep: 0, image: null, draw: null }
  }
}

/** A job begins: flags are reset, `samplingSteps` is not. */
export function beginJob (state: State, job: string): void {
  Object.assign(state, {
    skipped: false,
    interrupted: false,
    stoppingGeneration: false,
    job,
    jobCount: -1,
    jobTimestamp: timestamp(new Date()),
    jobNo: 0,
    samplingStep: 0,
    startedAt: performance.now(),
    textinfo: null,
    preview: { id: 0, shownAtStep: 0, image: null, draw: null }
  })
}

/** One sampling pass is over. */
export function nextPass (state: State): void {
  state.jobNo += 1
  state.samplingStep = 0
  state.preview.shownAtStep = 0
}

export function endJob (state: State): void {
  state.job = ''
  state.jobCount = 0
  state.preview.draw = null
}

/** The `state` object of GET /sdapi/v1/progress. */
export function describeState (state: State): Record<string, unknown> {
  return {
    skipped: state.skipped,
    interrupted: state.interrupted,
    stopping_generation: state.stoppingGeneration,
    job: state.job,
    job_count: state.jobCount,
    job_timestamp: state.jobTimestamp,
    job_no: state.jobNo,
    sampling_step: state.samplingStep,
    sampling_steps: state.samplingSteps
  }
}

function timestamp (now: Date): string {
  const parts = [now.getMonth() + 1, now.getDate(), now.getHours(), now.getMinutes(), now.getSeconds()]
  return `${now.getFullYear()}${parts.map(part => String(part).padStart(2, '0')).join('')}`
}
