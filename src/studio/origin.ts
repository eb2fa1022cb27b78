/** Whose wish a job of this interface is; kept with the job. */
export interface StudioOrigin {
  /** The application's own name for its user. */
  readonly user: string
  /** Which route made it, such as `txt2img`. */
  readonly kind: string
}
