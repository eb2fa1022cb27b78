/** Where a job of the A1111-compatible API came from; stored with the job. */
export interface DropInOrigin {
  /** The id of the job in `X-Job-ID`. */
  readonly shortId: string
  /** The client, as `callerOf` names it. */
  readonly caller: string
  /** Address of the client, behind trusted proxies only. */
  readonly ip: string
}

/** The user of the bot interface who requested a job; stored with the job. */
export interface BotOrigin {
  /** The application's own name for its user. */
  readonly user: string
  /** The route that created it, such as `txt2img`. */
  readonly kind: string
}
