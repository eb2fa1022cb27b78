import type { HttpClient } from '../lib/http/client.ts'
import { chunksOf, failureOfAnswer } from './answer-body.ts'
import { readGenerationAnswer, type AnswerStreamOptions } from './answer-stream.ts'
import { limitCall } from './call-limit.ts'
import type { Endpoint } from './endpoint.ts'
import {
  answerTooLarge, connectionFailure, deadlinePassed, isSuccess, unexpectedStatus, type CallPhase
} from './failures.ts'
import { GenerationFailure, routeOf, type GenerationAnswer, type GenerationMode } from './types.ts'

export interface GenerationOptions extends AnswerStreamOptions {
  readonly signal?: AbortSignal
  /** Milliseconds from the call to the end of the answer; `deadline_passed` beyond. */
  readonly deadlineMs: number
  /** Called once, when the connection stands and the request is being written: from now on it may run. */
  readonly onSent?: () => void
  /**
   * Called once, when the answer with the images begins: the server is done with it, however long the transfer takes.
   * A1111 leaves its lock before it writes its answer. Not called for an error.
   */
  readonly onAnswering?: () => void
}

/**
 * Sends one generation and reads its answer. Nothing but the deadline limits how long the server may be silent,
 * since A1111 says nothing until the images are done.
 *
 * @param body the request as JSON text
 * @param http gives each request a connection of its own: a generation is not to be sent twice, so it must not meet a
 *   kept connection that the server is just closing
 * @throws GenerationFailure; and whatever a sink throws, unchanged
 */
export async function callGeneration (
  endpoint: Endpoint, mode: GenerationMode, body: string | Buffer, options: GenerationOptions,
  { http, closed }: { http: Pick<HttpClient, 'request'>, closed: AbortSignal }
): Promise<GenerationAnswer> {
  const limit = limitCall(options.deadlineMs, deadlinePassed, closed, options.signal)
  let phase: CallPhase = 'connecting'
  const toFailure = (error: unknown) => limit.failure(phase) ?? connectionFailure(error, phase)
  try {
    const early = limit.failure(phase)
    if (early !== null) throw early
    const answer = await http.request({
      url: endpoint.urlOf(routeOf(mode)),
      method: 'POST',
      headers: { ...endpoint.headers, 'content-type': 'application/json' },
      body,
      signal: limit.signal
    }, () => {
      phase = 'waiting'
      options.onSent?.()
    }).catch(error => { throw toFailure(error) })
    phase = 'answering'
    if (!isSuccess(answer.statusCode)) throw await failureOfAnswer(answer, toFailure)
    if (answer.statusCode === 204) throw unexpectedStatus(answer.statusCode)
    if (Number(answer.headers['content-length'] ?? 0) > options.maxAnswerBytes) {
      answer.body.destroy()
      throw answerTooLarge(options.maxAnswerBytes)
    }
    return await readGenerationAnswer(announcing(chunksOf(answer.body, toFailure), options.onAnswering), options)
      .catch((error: unknown) => {
        // Such as 202 with the number of an order: a success for somebody, but no generation.
        const isOther = answer.statusCode !== 200 && error instanceof GenerationFailure &&
          error.failureClass === 'bad-answer'
        throw isOther ? unexpectedStatus(answer.statusCode, { cause: error }) : error
      })
  } finally {
    limit.release()
  }
}

/** The chunks as they are. White space before an answer only keeps proxies awake while the server still draws. */
async function * announcing (chunks: AsyncIterable<Buffer>, onAnswering?: () => void): AsyncGenerator<Buffer> {
  let begun = false
  for await (const chunk of chunks) {
    const first = begun ? undefined : chunk.find(byte => !isBlank(byte))
    if (first !== undefined) begun = true
    if (first === openingBrace) onAnswering?.()
    yield chunk
  }
}

const openingBrace = 0x7b

function isBlank (byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)
}
