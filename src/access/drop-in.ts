/** How the drop-in `/sdapi/v1` treats the holder of an access key, whose client cannot be changed to say so itself. */
export interface DropInPreferences {
  /** `wait` answers as A1111 does, once the images are there; `async` answers 202 at once. */
  readonly answer: 'wait' | 'async'
  /** What becomes of a job whose caller hangs up. */
  readonly onHangUp: 'continue' | 'cancel'
  /** Alias of the server that takes the jobs; null for whichever is best. */
  readonly server: string | null
  /** `true` sends status and job id as soon as a job is accepted, where the setting SDAPI_EARLY_JOB_ID allows it. */
  readonly earlyJobId: boolean
}

export const usualDropIn: DropInPreferences = { answer: 'wait', onHangUp: 'continue', server: null, earlyJobId: false }
