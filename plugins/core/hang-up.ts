import type { FastifyReply, FastifyRequest } from 'fastify'

/** Fires when the caller is gone before it has its whole answer. */
export function hangUp (reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  const closed = () => { if (!reply.raw.writableFinished) controller.abort() }
  // gone already, while something before this was waited for
  if (reply.raw.closed) closed()
  else reply.raw.once('close', closed)
  return controller.signal
}

/** Whether nobody waits for the answer any more. A request that was read whole is destroyed, too; its socket is not. */
export function hasHungUp ({ raw, socket }: FastifyRequest): boolean {
  return socket.destroyed || (raw.destroyed && !raw.complete)
}

const brokenOff = new WeakSet<FastifyReply>()

/**
 * Ends the connection in the midst of an answer, so that the caller sees it as cut off. Without chunks, as HTTP/1.0
 * has it, the mere end of the connection is the end of the answer, so that has to be a reset.
 */
export function breakOff (reply: FastifyReply): void {
  brokenOff.add(reply)
  const { raw, request: { raw: { httpVersion, socket } } } = reply
  if (httpVersion === '1.0') socket.resetAndDestroy()
  raw.destroy()
}

export function wasBrokenOff (reply: FastifyReply): boolean {
  return brokenOff.has(reply)
}
