import { readBeginning } from '../lib/chunks.ts'
import type { HttpAnswer } from '../lib/http/client.ts'
import { parsePythonJson } from '../lib/exact-json.ts'
import { statusFailure } from './failures.ts'
import { objectOf, type JsonObject } from './json-values.ts'
import { GenerationFailure } from './types.ts'

/** Enough for every error that A1111 words itself; validation errors may echo a whole request. */
const longestErrorBytes = 256 * 1024

/** A longer answer echoes the request; it is not kept with the job. In characters. */
const longestKeptAnswer = 4096

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
  const text = String(await readBeginning(chunksOf(answer.body, toFailure), longestErrorBytes))
  const { 'content-type': type = '', 'retry-after': retryAfter } = answer.headers
  const failure = statusFailure(answer.statusCode, String(type), text, retryAfter)
  return isAboutRequest(failure) ? withAnswer(failure, answer.statusCode, text) : failure
}

/** In contrast to what a proxy says, and to what is between the server and us, such as credentials. */
function isAboutRequest ({ failureClass, code }: GenerationFailure): boolean {
  return ['request', 'passing', 'out-of-memory'].includes(failureClass) || code === 'cuda_poisoned'
}

function withAnswer (failure: GenerationFailure, status: number, text: string): GenerationFailure {
  const body = text.length > longestKeptAnswer ? null : objectIn(text)
  if (body === null) return failure
  const { failureClass, code, message, cause, mayBeRunning, isFinal, retryAfterMs } = failure
  return new GenerationFailure(failureClass, code, message,
    { cause, mayBeRunning, isFinal, retryAfterMs, answer: { status, body } })
}

function objectIn (text: string): JsonObject | null {
  try {
    return objectOf(parsePythonJson(text))
  } catch {
    return null
  }
}
