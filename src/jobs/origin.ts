/** Where a job of the drop-in came from; kept with the job. */
export interface DropInOrigin {
  /** What the job is called in `X-Job-ID`. */
  readonly shortId: string
  /** Who called, as `callerOf` names them. */
  readonly caller: string
  /** Address of the client, behind trusted proxies only. */
  readonly ip: string
}

/** Whose wish a job of this interface is; kept with the job. */
export interface BotOrigin {
  /** The application's own name for its user. */
  readonly user: string
  /** Which route made it, such as `txt2img`. */
  readonly kind: string
}
