import type { HttpAnswer } from '../lib/http/client.ts'
import { statusFailure } from './failures.ts'
import type { GenerationFailure } from './types.ts'

/** Enough for every error that A1111 words itself; validation errors may echo a whole request. */
const longestErrorBytes = 256 * 1024

/** The chunks of an answer's body; what breaks while they arrive is told by `toFailure`. */
export async function * chunksOf (
  body: HttpAnswer['body'], toFailure: (error: unknown) => GenerationFailure
): AsyncGenerator<Buffer, void> {
  try {
    for await (const chunk of body) yield chunk
  } catch (error) {
    throw toFailure(error)
  }
}

/** The failure that an answer without success tells of; reads no more of it than is needed. */
export async function failureOfAnswer (
  answer: HttpAnswer, toFailure: (error: unknown) => GenerationFailure
): Promise<GenerationFailure> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const chunk of chunksOf(answer.body, toFailure)) {
    parts.push(chunk)
    bytes += chunk.length
    if (bytes > longestErrorBytes) break
  }
  const { 'content-type': type = '', 'retry-after': retryAfter } = answer.headers
  return statusFailure(answer.statusCode, String(type), Buffer.concat(parts).toString('utf8'), retryAfter)
}
