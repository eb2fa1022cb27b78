import { isUnreachable, sentenceOf } from '../lib/api.ts'
import { common } from '../texts/en/common.ts'

/** A notice above old data after a failed reload. The frame says if the service does not answer at all. */
export function Stale ({ error }: { error: unknown }) {
  if (error === null || isUnreachable(error)) return null
  return <p class='notice problem-notice' role='alert'>{common.possiblyOutOfDate(sentenceOf(error))}</p>
}
