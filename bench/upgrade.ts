import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import type { Redis } from 'ioredis'
import { createKeys } from '../src/lib/keys.ts'
import { startSimulator } from '../src/simulator/simulator.ts'
import { findProblems, readJobs } from '../test/support/consistency.ts'
import { createCaller, type Caller } from './environment/caller.ts'
import { closeEverything, withEnvironment, type Environment } from './environment/environment.ts'
import { startService, type ServiceProcess } from './environment/service.ts'
import { until } from './environment/until.ts'

/**
 * An upgrade while the service works: a process of an earlier version has jobs that wait, run and are delayed; one of
 * this version starts beside it, both take jobs, and then the earlier one stops or is killed. Run it by hand, with a
 * checkout of the earlier version that has its node_modules:
 *
 *     git worktree add /tmp/earlier 65853d3 && cp -al node_modules /tmp/earlier/
 *     node bench/upgrade.mjs /tmp/earlier
 *
 * `--kill` kills the earlier process while it generates. `--dump <file>` writes its data in Redis, before this version
 * starts, as JSON; test/queues/earlier-version.json comes from that.
 */
export async function main (words: readonly string[]): Promise<number> {
  const { values, positionals: [earlier] } = parseArgs({
    args: [...words], allowPositionals: true, options: { kill: { type: 'boolean' }, dump: { type: 'string' } }
  })
  if (earlier === undefined) throw new Error('Say where the checkout of the earlier version is.')
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => { closeEverything().finally(() => process.exit(130)) })
  }
  return await withEnvironment(async environment =>
    await upgrade(environment, resolve(earlier), { kill: values.kill === true, dump: values.dump }))
}

/** The retry of a failed job is far away until the delays are over. */
const settings = { RETRY_BACKOFF_SECONDS: '20', SERVER_START_SECONDS: '0.2', SIMULATOR: 'off', LOG_LEVEL: 'debug' }
const common = { steps: 8, width: 64, height: 64, sampler_name: 'Euler' }

interface How {
  readonly kill: boolean
  readonly dump: string | undefined
}

async function upgrade (environment: Environment, earlier: string, { kill, dump }: How): Promise<number> {
  const { redis, folder } = environment
  redis.on('error', () => {})
  const keys = createKeys('sq')
  const simulators = new Map([
    ['Main', await startSimulator({ stepMilliseconds: 20, loadMilliseconds: 0 })],
    ['Other', await startSimulator({ stepMilliseconds: 20, loadMilliseconds: 0 })]
  ])
  for (const { close } of simulators.values()) environment.onClose(close)
  const main = simulators.get('Main')
  main?.setFaults([
    { kind: 'runtime-error', message: 'CUDA error: unspecified', prompt: 'fails once' },
    { kind: 'hang', prompt: 'the running one', sticky: true }
  ])
  const servers = Object.fromEntries([...simulators].map(([alias, { url }]) => [alias, url]))
  const launch = async (program?: URL) => await startService(environment, {
    command: 'start', servers, settings, ...program === undefined ? {} : { program }
  })
  const old = await launch(pathToFileURL(join(earlier, 'src/launch.mjs')))
  const ids = new Map<string, string>()
  const submit = async (caller: Caller, name: string, more: object = {}) => {
    const { id } = await caller.post('/api/v2/generate', {
      target_server_alias: 'default', ...more, generation_params: { ...common, prompt: name }
    }) as { id: string }
    ids.set(name, id)
    return id
  }
  const statusOf = async (id: string) => await redis.hget(keys.key('job', id), 'status')
  const { key, secret } = await old.caller.post('/api/v1/api-keys', { name: 'a key' }) as { key: string, secret: string }
  const withKey = (url: string) => {
    const caller = createCaller(url, { 'x-api-key': key, 'x-api-secret': secret })
    environment.onClose(caller.close)
    return caller
  }
  const delayed = await submit(old.caller, 'fails once', { target_server_alias: 'Main' })
  await until(async () => await statusOf(delayed) === 'pending' &&
    await redis.hget(keys.key('job', delayed), 'run') === '2', 'a job is delayed')
  const running = await submit(old.caller, 'the running one', { target_server_alias: 'Main' })
  await until(async () => await statusOf(running) === 'processing', 'a job runs')
  await old.caller.post('/api/v1/servers/Other/pause')
  const byKey = withKey(old.url)
  for (const alias of ['Main', 'Other']) {
    for (const priority of [5, 1, 10, 5]) {
      await submit(old.caller, `old ${alias} ${priority} ${ids.size}`, { target_server_alias: alias, priority })
    }
  }
  for (const priority of [5, 5, 10]) await submit(old.caller, `old any ${priority} ${ids.size}`, { priority })
  for (const priority of [5, 1, 5]) await submit(byKey, `old key any ${priority} ${ids.size}`, { priority })
  if (dump !== undefined) await writeFile(dump, JSON.stringify(await readAll(redis, keys.key('')), null, 1))

  const next = await launch()
  // It gets the server that is not busy, unless its share is the other one, which it gets when the job there is over.
  const adopted = async () => (await next.readLog()).includes('jobs of an earlier version went into the pool')
  await until(adopted, 'this version serves a server', 10_000).catch(() => null)
  process.stdout.write(`while both run, this version serves ${await adopted() ? 'a' : 'no'} server\n`)
  for (const [name, { caller }] of [['old', old], ['new', next]] as const) {
    await submit(caller, `${name} any beside`)
    await submit(caller, `${name} Main beside`, { target_server_alias: 'Main' })
    await submit(caller, `${name} Other beside`, { target_server_alias: 'Other' })
    await submit(withKey((name === 'old' ? old : next).url), `${name} key beside`)
  }
  // What clients of the earlier process do to jobs that are already in the pool; it can refuse.
  const pick = (name: string) => [...ids].find(([known]) => known.startsWith(name))?.[1] ?? ''
  const ignore = () => null
  const cancelled = pick('old Other 1 ')
  await old.caller.post(`/api/v2/jobs/${cancelled}/cancel`).catch(ignore)
  await old.caller.post(`/api/v2/jobs/${pick('old Other 5')}/run-now`).catch(ignore)
  await old.caller.patch(`/api/v2/jobs/${pick('new any')}`, { priority: 9 }).catch(ignore)
  await next.caller.post(`/api/v2/jobs/${pick('old any 10')}/run-now`)
  await next.caller.post('/api/v1/servers/Other/resume')
  if (kill) await old.kill()
  main?.setFaults([])
  await untilEnded(redis, keys.key('jobs', '*', '*', ''))
  if (!kill) await old.stop()
  await submit(next.caller, 'new Main after', { target_server_alias: 'Main' })
  await submit(next.caller, 'new Other after', { target_server_alias: 'Other' })
  await untilEnded(redis, keys.key('jobs', '*', '*', ''))

  const jobs = await readJobs({ look: redis, keys })
  const order = [...simulators].flatMap(([alias, simulator]) => simulator.state().generations
    .map(one => ({ alias, one, name: [...ids].find(([, id]) => id === one.taskId)?.[0] ?? '?' })))
    .toSorted((before, after) => before.one.startedAt - after.one.startedAt)
  const problems = [
    ...await findProblems(ids.values(), { look: redis, keys, dataDirectory: folder }),
    ...[...ids].flatMap(([name, id]) => {
      const { status = 'lost', attempts = [] } = jobs.get(id) ?? {}
      const times = order.filter(({ one }) => one.taskId === id).length
      if (id === cancelled && status === 'cancelled' && times === 0) return []
      // What ran when its process was killed runs once more, as what failed.
      return status === 'completed' && times === attempts.length + 1 ? [] : [`${name}: ${status}, generated ${times} times`]
    }),
    ...[...simulators].flatMap(([alias, one]) => one.state().maxInFlight > 1 ? [`${alias} had two at once`] : []),
    ...await ownFaults(next)
  ]
  process.stdout.write([
    ...order.map(({ alias, name, one }) => `${alias}: ${name}${one.outcome === 'done' ? '' : `, ${one.outcome}`}`),
    `jobs: ${jobs.size}; lost, doubled or inconsistent: ${problems.length}`,
    ...problems
  ].join('\n') + '\n')
  return problems.length === 0 ? 0 : 1
}

async function untilEnded (redis: Redis, index: string): Promise<void> {
  const patience = 90_000
  for (const end = performance.now() + patience; performance.now() < end; await sleep(50)) {
    const counts = await Promise.all(['pending', 'processing'].map(async status => await redis.zcard(`${index}${status}`)))
    if (counts.every(count => count === 0)) return
  }
}

async function ownFaults ({ readLog }: ServiceProcess): Promise<string[]> {
  return (await readLog()).split('\n').filter(line => line.startsWith('{"level":50')).map(line => line.slice(0, 300))
}

/** Every key of the service by its name without the prefix, with its type and content. */
async function readAll (redis: Redis, prefix: string): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {}
  for (const key of (await redis.keys(`${prefix}*`)).toSorted()) {
    const type = await redis.type(key)
    const read: Readonly<Record<string, () => Promise<unknown>>> = {
      string: async () => await redis.get(key),
      hash: async () => await redis.hgetall(key),
      zset: async () => await redis.zrange(key, '0', '-1', 'WITHSCORES'),
      set: async () => await redis.smembers(key),
      list: async () => await redis.lrange(key, 0, -1)
    }
    const value = await read[type]?.()
    if (value !== undefined) found[key.slice(prefix.length)] = { type, value }
  }
  return found
}
