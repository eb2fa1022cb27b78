import { setTimeout as sleep } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { BotTime } from '../../schemas/bots-settings.ts'
import { messageOf } from '../../src/lib/errors.ts'
import { redisProblemOf } from '../../src/redis/errors.ts'
import type { ServerState } from '../../src/servers/registry.ts'
import { botTime } from '../../src/bots/errors.ts'

/** Longest time that /health waits for its details, in milliseconds. */
const patience = 200

const open = { access: 'public' } as const

const Check = Type.Object({
  ok: Type.Boolean({ description: 'Whether it is as it should be.' }),
  message: Type.String({ description: 'What was found.' })
})

/** For balancers, containers and old clients: alive, ready, and a page that only says so. */
const health: FastifyPluginAsyncTypebox = async app => {
  const { redis, keys, registry, states, storage } = app

  let closing = false
  app.addHook('preClose', async () => { closing = true })

  app.get('/health', {
    config: open,
    schema: {
      operationId: 'health.get',
      tags: ['Health'],
      summary: 'Whether this process is alive',
      description: 'Depends on nothing else: a server that is down does not make the service unhealthy.',
      response: {
        200: Type.Object({
          status: Type.Literal('healthy', { description: 'Always healthy.' }),
          a1111_status: Type.Record(Type.String(), Type.String(), {
            description: 'By alias, the last known state of each server: online, suspected, offline, unauthorized or disabled. ' +
              '`status` is online if one of them is; `webui_version` is then `available`, otherwise `error` names the problem.'
          }),
          timestamp: BotTime('Now.')
        }, { description: 'Alive.' })
      }
    }
  }, async () => ({
    status: 'healthy' as const, a1111_status: await serverStatuses(), timestamp: botTime(Date.now())
  }))

  let lastKnown: ReadonlyMap<string, ServerState | null> = new Map()

  /** The last known state of each server. It comes from Redis, which this answer does not wait for. */
  async function knownStates (): Promise<ReadonlyMap<string, ServerState | null>> {
    const ids = registry.list().map(({ id }) => id)
    const reading = states.readMany(ids).then(found => {
      lastKnown = new Map(ids.map((id, index) => [id, found[index] ?? null]))
    }, () => { /* what was known before is still the best that there is */ })
    await Promise.race([reading, sleep(patience, undefined, { ref: false })])
    return lastKnown
  }

  async function serverStatuses (): Promise<Record<string, string>> {
    const servers = registry.list()
    const known = await knownStates()
    const words = { yes: 'online', suspected: 'suspected', no: 'offline', unauthorized: 'unauthorized' }
    const byAlias = Object.fromEntries(servers.map(({ id, alias, enabled }) =>
      [alias, enabled ? words[known.get(id)?.reachable ?? 'no'] : 'disabled']))
    // Clients that know of one server only look here.
    return Object.values(byAlias).includes('online')
      ? { ...byAlias, status: 'online', webui_version: 'available' }
      : { ...byAlias, status: 'offline', error: 'No server is reachable.' }
  }

  const Readiness = Type.Object({
    status: Type.String({ description: 'ready or not ready.' }),
    checks: Type.Record(Type.String(), Check, { description: 'The checked parts.' })
  })

  app.get('/ready', {
    config: open,
    schema: {
      operationId: 'health.getReadiness',
      tags: ['Health'],
      summary: 'Whether requests can be taken',
      description: 'Redis and DATA_DIR can be written to and a worker process lives. 503 otherwise, and while the process stops.',
      response: { 200: { ...Readiness, description: 'Ready.' }, 503: { ...Readiness, description: 'Not ready.' } }
    }
  }, async (_request, reply) => {
    const checks = {
      process: { ok: !closing, message: closing ? 'It is stopping.' : 'It accepts requests.' },
      redis: await checkRedis(),
      workers: await checkWorkers(),
      storage: await checkStorage()
    }
    const ready = Object.values(checks).every(({ ok }) => ok)
    reply.code(ready ? 200 : 503)
    if (!ready) reply.header('retry-after', '5')
    return { status: ready ? 'ready' : 'not ready', checks }
  })

  async function checkRedis () {
    try {
      await redis.set(keys.key('ready'), Date.now(), 'PX', 60_000)
      return { ok: true, message: 'It can be written to.' }
    } catch (error) {
      return troubled(error)
    }
  }

  async function checkStorage () {
    const fault = await storage.fault()
    return fault === null
      ? { ok: true, message: 'Files can be kept.' }
      : { ok: false, message: `Files cannot be kept: ${fault.reason} (${fault.errno}).` }
  }

  /** Every enabled server has a worker process that holds its lease. */
  async function checkWorkers () {
    const servers = registry.list().filter(({ enabled }) => enabled)
    if (servers.length === 0) return { ok: true, message: 'No server is enabled.' }
    try {
      const leases = await redis.mget(...servers.map(({ id }) => keys.key('lease', id)))
      const missing = servers.filter((_server, index) => leases[index] === null).map(({ alias }) => alias)
      return missing.length === 0
        ? { ok: true, message: `All ${servers.length} servers are attended.` }
        : { ok: false, message: `No worker process attends ${missing.join(', ')}.` }
    } catch (error) {
      return troubled(error)
    }
  }

  function troubled (error: unknown) {
    return { ok: false, message: redisProblemOf(error)?.reason ?? messageOf(error) }
  }

  app.get('/status', {
    config: open,
    schema: {
      operationId: 'health.getStatus',
      tags: ['Health'],
      summary: 'A sentence for old clients',
      description: 'Clients test their connection with it and look at the status code only.',
      response: { 200: { description: 'Running.', content: { 'text/html': { schema: Type.String() } } } }
    }
  }, async (_request, reply) => {
    reply.type('text/html; charset=utf-8')
    return '<!doctype html><title>StableQueue</title><p>StableQueue is running.</p>'
  })
}

export default health
