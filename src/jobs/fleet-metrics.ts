import type { Redis } from 'ioredis'
import { Gauge, Registry } from 'prom-client'
import { jobStatuses } from '../../schemas/job.ts'
import type { Keys } from '../lib/keys.ts'
import { parseInfo } from '../redis/check.ts'
import { answersLooks, type ServerRegistry } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import type { Estimates } from './estimates.ts'
import { indexKey } from './job.ts'
import { parseNeeds } from './needs.ts'

export interface FleetSources {
  readonly redis: Redis
  readonly keys: Keys
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
  readonly estimates: Pick<Estimates, 'queue'>
  /** How long jobs should wait at most. */
  readonly targetWaitSeconds: number
  /** Every queue with the number of its entries in each state. */
  readonly queues: () => ReadonlyArray<{
    readonly name: string
    readonly counts: () => Promise<Readonly<Record<string, number>>>
  }>
}

/** Needs of waiting jobs that are reported one by one. */
const maxNeeds = 200

/**
 * The state of jobs, servers and Redis. Every process reads it from Redis and reports the same: query one process, or
 * take the maximum of several. If Redis does not answer, only that is reported.
 */
export function createFleetMetrics (sources: FleetSources): { text: () => Promise<string> } {
  const { redis, keys, registry, states, estimates, queues, targetWaitSeconds } = sources
  const prometheus = new Registry()
  const registers = [prometheus]
  const gauge = <Label extends string>(name: string, help: string, labelNames: readonly Label[] = []) =>
    new Gauge({ name: `stablequeue_${name}`, help, labelNames: [...labelNames], registers })

  const jobs = gauge('jobs', 'Jobs that are kept, by server and state', ['server', 'status'])
  const up = gauge('server_up', 'Whether the server answered its last health check', ['server'])
  const paused = gauge('server_paused', 'Whether an operator has paused the server', ['server'])
  const draining = gauge('server_draining', 'Whether an operator takes the server out: it begins nothing more', ['server'])
  const attended = gauge('server_attended', 'Whether a worker process serves the server', ['server'])
  const oldest = gauge('oldest_waiting_job_seconds', 'Age of the job that has waited longest', ['server'])
  const predicted = gauge('waiting_seconds',
    'Predicted seconds until the server has done all that waits and runs; absent while its speed is not known', ['server'])
  const poolJobs = gauge('pool_jobs', 'Jobs that no server has claimed, by what they need', ['checkpoint', 'server'])
  const poolSeconds = gauge('pool_seconds',
    'Predicted seconds of an ordinary server that these jobs need', ['checkpoint', 'server'])
  const oldestInPool = gauge('pool_oldest_seconds', 'Age of the job that has waited longest for any server')
  const wanted = gauge('servers_wanted',
    'Servers that would do all that waits in the pool within TARGET_WAIT_SECONDS')
  const entries = gauge('queue_entries', 'Entries of the BullMQ queues by their state', ['queue', 'state'])
  const redisUp = gauge('redis_up', 'Whether Redis answers')
  const redisLatency = gauge('redis_latency_seconds', 'Round trip to Redis')
  const redisMemory = gauge('redis_memory_bytes', 'Memory that Redis uses for its data')
  const redisMemoryLimit = gauge('redis_memory_limit_bytes', 'maxmemory of Redis; 0 for no limit')
  const redisClients = gauge('redis_connected_clients', 'Connections to Redis')
  const redisPersistence = gauge('redis_persistence_ok', 'Whether the last write of the AOF or snapshot succeeded')

  async function readRedis (): Promise<void> {
    const before = performance.now()
    const info = parseInfo(await redis.info())
    redisLatency.set((performance.now() - before) / 1000)
    redisMemory.set(Number(info.used_memory ?? 0))
    redisMemoryLimit.set(Number(info.maxmemory ?? 0))
    redisClients.set(Number(info.connected_clients ?? 0))
    const writes = ['aof_last_write_status', 'rdb_last_bgsave_status'].map(name => info[name] ?? 'ok')
    redisPersistence.set(Number(writes.every(status => status === 'ok')))
  }

  async function readServers (): Promise<void> {
    const servers = registry.list()
    const ids = servers.map(({ id }) => id)
    const pipeline = redis.pipeline()
    for (const serverId of ids) {
      for (const status of jobStatuses) pipeline.zcard(indexKey(keys, { serverId, status }))
      pipeline.zrange(indexKey(keys, { serverId, status: 'pending' }), '0', '0', 'WITHSCORES')
      pipeline.exists(keys.key('lease', serverId))
    }
    const [replies, known, lines] = await Promise.all([
      pipeline.exec(), states.readMany(ids), Promise.all(ids.map(async id => await estimates.queue(id)))
    ])
    const values = (replies ?? []).map(([error, value]) => {
      if (error !== null) throw error
      return value
    })
    const perServer = jobStatuses.length + 2
    for (const [index, { alias: server, paused: held, draining: leaves }] of servers.entries()) {
      const own = values.slice(index * perServer, (index + 1) * perServer)
      for (const [at, status] of jobStatuses.entries()) jobs.set({ server, status }, Number(own[at]))
      // Arrivals are microseconds.
      const [, arrival] = own[jobStatuses.length] as [string?, string?]
      oldest.set({ server }, arrival === undefined ? 0 : Math.max(0, Date.now() / 1000 - Number(arrival) / 1e6))
      attended.set({ server }, Number(own[jobStatuses.length + 1]))
      up.set({ server }, Number(answersLooks(known[index] ?? null)))
      paused.set({ server }, Number(held))
      draining.set({ server }, Number(leaves))
      const seconds = lines[index]?.seconds ?? null
      if (seconds !== null) predicted.set({ server }, seconds)
    }
  }

  async function readPool (): Promise<void> {
    const [counts, milliseconds, classes, [, arrival]] = await Promise.all([
      redis.hgetall(keys.key('class-counts')), redis.hgetall(keys.key('class-ms')), redis.hgetall(keys.key('classes')),
      redis.zrange(indexKey(keys, { serverId: '', status: 'pending' }), '0', '0', 'WITHSCORES')
    ])
    let seconds = 0
    for (const [id, count] of Object.entries(counts).slice(0, maxNeeds)) {
      const needs = parseNeeds(classes[id] ?? '')
      const labels = {
        checkpoint: needs?.checkpoint ?? '', server: registry.byId(needs?.target ?? '')?.alias ?? ''
      }
      poolJobs.inc(labels, Number(count))
      poolSeconds.inc(labels, Number(milliseconds[id] ?? 0) / 1000)
    }
    for (const each of Object.values(milliseconds)) seconds += Number(each) / 1000
    wanted.set(Math.ceil(seconds / targetWaitSeconds))
    // Arrivals are microseconds.
    oldestInPool.set(arrival === undefined ? 0 : Math.max(0, Date.now() / 1000 - Number(arrival) / 1e6))
  }

  async function readQueues (): Promise<void> {
    await Promise.all(queues().map(async ({ name: queue, counts }) => {
      for (const [state, count] of Object.entries(await counts())) entries.set({ queue, state }, count)
    }))
  }

  async function read (): Promise<string> {
    // Removed servers and queues must not be reported for ever.
    prometheus.resetMetrics()
    try {
      await Promise.all([readRedis(), readServers(), readPool(), readQueues()])
      redisUp.set(1)
    } catch {
      prometheus.resetMetrics()
      redisUp.set(0)
    }
    return await prometheus.metrics()
  }

  let reading: Promise<string> | null = null
  return {
    // Concurrent requests share one answer: each would otherwise reset the gauges of the other.
    text: async () => await (reading ??= read().finally(() => { reading = null }))
  }
}
