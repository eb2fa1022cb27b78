/** What goes over the channel `preview-wishes`: which jobs are watched, and for how long; '' stands for all. */
export interface PreviewWish {
  readonly jobs: readonly string[]
  readonly milliseconds: number
}

/** What goes over the channel `previews`. */
export interface PreviewMessage {
  readonly job: string
  readonly key: string | null
  readonly server: string
  readonly width: number
  readonly height: number
  readonly moment: number
  /** base64 */
  readonly jpeg: string
}
