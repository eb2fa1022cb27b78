import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance, FastifyReply } from 'fastify'

/** How long a stopping service gives answers that were waited for, in milliseconds. */
const lastAnswersMs = 1000

/**
 * Lets answers that somebody waits for be sent while the service stops: connections are cut right afterwards. Gives
 * what is to be called with each such answer. Whatever it waits for must be over when the service begins to stop.
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
