import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { quotaOwner } from '../../src/access/principal.ts'
import type { Config } from '../../src/config/settings.ts'
import { ServiceError } from '../../src/lib/errors.ts'

/** Why a request stays open: it listens to events, or waits for a job to finish. */
export type HoldReason = 'listening' | 'waiting'

declare module 'fastify' {
  interface FastifyReply {
    /**
     * Counts its request among its client's open ones, until its connection or answer ends.
     * @throws ServiceError `listener_limit_reached` if there are too many
     */
    hold (reason: HoldReason): void
  }
}

export interface HeldRequestsOptions {
  readonly config: Pick<Config, 'LISTENERS_PER_KEY' | 'WAITING_PER_KEY'>
}

/** Limits the open requests of each access key, and of each address without one. */
export default fp<HeldRequestsOptions>(async (app, { config }) => {
  const rules = {
    listening: { most: config.LISTENERS_PER_KEY, setting: 'LISTENERS_PER_KEY', what: 'streams of events or sockets' },
    waiting: { most: config.WAITING_PER_KEY, setting: 'WAITING_PER_KEY', what: 'requests that wait for a job' }
  } as const
  const open = new Map<string, number>()

  app.decorateReply('hold', function (this: FastifyReply, reason: HoldReason) {
    const { most, setting, what } = rules[reason]
    const owner = `${reason} ${quotaOwner(this.request)}`
    const count = open.get(owner) ?? 0
    if (count >= most) {
      this.header('retry-after', String(retryAfter))
      throw new ServiceError('listener_limit_reached', `You have ${count} ${what} open, as many as one access key, or one ` +
        `address without a key, can have (${setting}); close one of them first.`, { limit: most, retry_after: retryAfter })
    }
    open.set(owner, count + 1)
    // A streamed answer has ten of Node's, Fastify's and our own already.
    this.raw.setMaxListeners(20)
    onceOver(this, () => {
      const left = (open.get(owner) ?? 0) - 1
      if (left > 0) open.set(owner, left)
      else open.delete(owner)
    })
  })
}, { name: 'held-requests', dependencies: ['access'] })

/** Seconds after which a refused client can try again. */
const retryAfter = 5

/** Runs once, when the answer or, after an upgrade, the connection has ended. */
function onceOver ({ raw, request }: FastifyReply, work: () => void): void {
  const { socket } = request.raw
  let over = false
  const end = () => {
    if (over) return
    over = true
    socket.off('close', end)
    work()
  }
  if (request.headers.upgrade === undefined) raw.once('close', end)
  socket.once('close', end)
}

/** How long a stopping service sends answers to waiting clients, in milliseconds. */
const lastAnswersMs = 1000

/**
 * Lets the service send answers to waiting clients while it stops: connections are cut right afterwards. Returns a
 * function to call with each such answer. Work that it waits for must be finished when the service begins to stop.
 */
export function keepLastAnswers (app: FastifyInstance): (reply: FastifyReply) => void {
  const waiting = new Set<ServerResponse>()
  app.addHook('preClose', async () => {
    const sent = [...waiting].map(async answer => await once(answer, 'close'))
    await Promise.race([Promise.all(sent), sleep(lastAnswersMs, undefined, { ref: false })])
  })
  return ({ raw }) => {
    waiting.add(raw)
    raw.once('close', () => { waiting.delete(raw) })
  }
}

/** Fires if the client disconnects before it has its whole answer. */
export function disconnectSignal (reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  const closed = () => { if (!reply.raw.writableFinished) controller.abort() }
  // disconnected already, during an earlier wait
  if (reply.raw.closed) closed()
  else reply.raw.once('close', closed)
  return controller.signal
}

/**
 * Whether the client no longer waits for the answer. A request that was read whole is destroyed, too; its socket is
 * not.
 */
export function hasHungUp ({ raw, socket }: FastifyRequest): boolean {
  return socket.destroyed || (raw.destroyed && !raw.complete)
}

const brokenOff = new WeakSet<FastifyReply>()

/**
 * Breaks the connection off within an answer, so that the client sees it as cut off. Without chunks, as in HTTP/1.0,
 * the mere end of the connection is the end of the answer, so this needs a reset.
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

/** One piece at a time: a slow reader must not make us buffer many. */
export function stream (pieces: AsyncGenerator<string>): Readable {
  return Readable.from(pieces, { highWaterMark: 1 })
}
