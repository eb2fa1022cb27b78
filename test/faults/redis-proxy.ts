import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { TestRedis } from '../redis.ts'

/** A proxy to Redis that can break the connection between a command and its answer. */
export interface RedisProxy extends TestRedis {
  /** Redis executes the next call of this script, but the client loses the connection instead of getting the answer. */
  loseAnswerTo (script: { readonly sha: string }): void
  /**
   * Strikes at the next command that contains one of these texts: before it reaches Redis, or after Redis has executed
   * it, so that only the answer is lost.
   */
  strikeAt (texts: readonly string[], when: 'before' | 'after', strike: () => void): void
  /** Calls this right before the answer to the next command that contains one of these texts is passed on. */
  beforeAnswer (texts: readonly string[], call: () => void): void
  /**
   * Holds the next command that contains one of these texts, and all that follow it on its connection.
   * @returns resolves when one is held, with the function that lets them go on
   */
  hold (texts: readonly string[]): Promise<() => void>
  /** Whether this text is among what waits behind a held command. */
  isWaiting (text: string): boolean
  /** How many answers were lost so far. */
  lost (): number
  /** Closes every connection and accepts no new one until it is repaired. */
  cut (): void
  repair (): void
}

/** @param socketPath where the real Redis listens */
export async function startRedisProxy (t: Pick<Test, 'teardown'>, redis: TestRedis): Promise<RedisProxy> {
  const socketPath = decodeURIComponent(/path=(.*)$/.exec(redis.url)?.[1] ?? '')
  const folder = await mkdtemp(join(tmpdir(), 'sq-proxy-'))
  const own = join(folder, 'redis.sock')
  const open = new Set<Socket>()
  /** What follows the held command of a client. */
  const queues = new Map<Socket, Buffer[]>()
  let marks: string[] = []
  let lost = 0
  let isCut = false
  let holding: { readonly texts: readonly string[], readonly held: (release: () => void) => void } | null = null
  let awaited: { readonly texts: readonly string[], readonly call: () => void } | null = null
  let snare: { readonly texts: readonly string[], readonly when: 'before' | 'after', readonly strike: () => void } | null = null

  const server = createServer(client => {
    if (isCut) {
      client.destroy()
      return
    }
    const upstream = connect(socketPath)
    let breaking = false
    let struck: (() => void) | null = null
    let announced: (() => void) | null = null
    for (const socket of [client, upstream]) {
      open.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        open.delete(socket)
        queues.delete(client)
        client.destroy()
        upstream.destroy()
      })
    }
    client.on('data', request => {
      const text = request.toString('latin1')
      if (!queues.has(client) && holding?.texts.some(mark => text.includes(mark)) === true) {
        const { held } = holding
        holding = null
        const waiting: Buffer[] = []
        queues.set(client, waiting)
        held(() => {
          upstream.write(Buffer.concat(waiting))
          queues.delete(client)
        })
      }
      const queued = queues.get(client)
      if (queued !== undefined) {
        queued.push(request)
        return
      }
      if (awaited?.texts.some(mark => text.includes(mark)) === true) {
        announced = awaited.call
        awaited = null
      }
      if (snare?.texts.some(mark => text.includes(mark)) === true) {
        struck = snare.strike
        const { when } = snare
        snare = null
        if (when === 'before') {
          struck()
          client.destroy()
          return
        }
      }
      if (marks.some(mark => text.includes(mark))) {
        marks = []
        breaking = true
      }
      upstream.write(request)
    })
    upstream.on('data', answer => {
      // Redis asks for the script's text where it does not know it yet; that is not the answer.
      const isAnswer = !answer.toString('latin1').includes('NOSCRIPT')
      if (announced !== null && isAnswer) {
        announced()
        announced = null
      }
      if (struck !== null && isAnswer) {
        struck()
        client.destroy()
      } else if (breaking && isAnswer) {
        lost++
        client.destroy()
      } else client.write(answer)
    })
  }).listen(own)
  await once(server, 'listening')
  t.teardown(async () => {
    server.close()
    for (const socket of open) socket.destroy()
    await rm(folder, { recursive: true, force: true })
  })
  return {
    ...redis,
    url: `redis://localhost?path=${encodeURIComponent(own)}`,
    loseAnswerTo ({ sha }) { marks = [sha] },
    strikeAt (texts, when, strike) { snare = { texts, when, strike } },
    beforeAnswer (texts, call) { awaited = { texts, call } },
    async hold (texts) {
      return await new Promise(resolve => { holding = { texts, held: resolve } })
    },
    isWaiting: text => [...queues.values()].some(queued => Buffer.concat(queued).includes(text)),
    lost: () => lost,
    cut () {
      isCut = true
      for (const socket of open) socket.destroy()
    },
    repair () { isCut = false }
  }
}
