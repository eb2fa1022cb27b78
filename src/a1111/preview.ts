import type { A1111Client } from './client.ts'
import { fieldsOf } from './json-values.ts'
import type { SmallCallOptions } from './small-calls.ts'

/** A1111 draws a preview when it is asked for one, so nobody asks who does not want to look. */
const path = '/sdapi/v1/progress?skip_current_image=false'

/**
 * What the server has drawn so far of whatever it generates, as base64; null where it generates nothing or shows
 * nothing.
 * @throws GenerationFailure
 */
export async function readPreview (client: A1111Client, options?: SmallCallOptions): Promise<string | null> {
  const { current_image: image, state } = fieldsOf(await client.readJson(path, options))
  const { job_count: jobs } = fieldsOf(state)
  return typeof image === 'string' && image !== '' && jobs !== 0 ? image : null
}
