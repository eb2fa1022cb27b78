import { Client } from 'undici'
import { chunksOf, failureOfAnswer } from './answer-body.ts'
import { readGenerationAnswer, type AnswerStreamOptions } from './answer-stream.ts'
import { limitCall, type CallLimit } from './call-limit.ts'
import type { Endpoint } from './endpoint.ts'
import { answerTooLarge, callCancelled, clientClosed, connectionFailure, deadlinePassed, type CallPhase } from './failures.ts'
import type { GenerationAnswer, GenerationFailure, GenerationMode } from './types.ts'

export interface GenerationOptions extends AnswerStreamOptions {
  readonly signal?: AbortSignal
  /** Milliseconds from the call to the end of the answer; `deadline_passed` beyond. */
  readonly deadlineMs: number
  /** Called once, when the connection stands and the request is being written: from now on it may run. */
  readonly onSent?: () => void
}

/** A dead host is noticed after about this and the kernel's ten probes, a second apart under Node. */
const keepAliveProbeMs = 15_000

/**
 * Sends one generation and reads its answer. Each has a connection of its own: a generation is not to be sent
 * twice, so it must not meet a connection that the server is just closing. Nothing but the deadline limits how
 * long the server may be silent, since A1111 says nothing until the images are done.
 *
 * @param body the request as JSON text
 * @throws GenerationFailure; and whatever a sink throws, unchanged
 */
export async function callGeneration (
  endpoint: Endpoint, mode: GenerationMode, body: string | Buffer, options: GenerationOptions,
  { connectTimeoutMs, closed }: { connectTimeoutMs: number, closed: AbortSignal }
): Promise<GenerationAnswer> {
  const limit = limitCall(options.deadlineMs, closed, options.signal)
  let phase: CallPhase = 'connecting'
  const toFailure = (error: unknown) => endOfCall(limit, phase) ?? connectionFailure(error, phase)
  const connection = new Client(endpoint.origin, {
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: { timeout: connectTimeoutMs, keepAlive: true, keepAliveInitialDelay: keepAliveProbeMs }
  })
  connection.once('connect', () => {
    if (limit.ended() !== null) return // undici will not write it either
    phase = 'waiting'
    options.onSent?.()
  })
  try {
    const answer = await limit.orEnd(connection.request({
      method: 'POST',
      path: endpoint.pathOf(`/sdapi/v1/${mode}`),
      headers: { ...endpoint.headers, 'content-type': 'application/json' },
      body,
      reset: true,
      signal: limit.signal
    })).catch(error => { throw toFailure(error) })
    phase = 'answering'
    if (answer.statusCode !== 200) throw await failureOfAnswer(answer, toFailure)
    if (Number(answer.headers['content-length'] ?? 0) > options.maxAnswerBytes) throw answerTooLarge(options.maxAnswerBytes)
    return await readGenerationAnswer(chunksOf(answer.body, toFailure), options)
  } finally {
    limit.release()
    await connection.destroy()
  }
}

function endOfCall (limit: CallLimit, phase: CallPhase): GenerationFailure | null {
  const end = limit.ended()
  if (end === 'late') return deadlinePassed(phase)
  if (end === 'cancelled') return callCancelled(phase)
  return end === 'closed' ? clientClosed(phase) : null
}
