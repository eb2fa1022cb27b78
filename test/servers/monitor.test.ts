import { Redis } from 'ioredis'
import t from 'tap'
import { createA1111Client, type A1111Client } from '../../src/a1111/client.ts'
import { connectionFailure } from '../../src/a1111/failures.ts'
import { GenerationFailure } from '../../src/a1111/types.ts'
import { createKeys } from '../../src/lib/keys.ts'
import { createServerMonitor } from '../../src/servers/monitor.ts'
import type { MonitorIntervals } from '../../src/servers/monitor-intervals.ts'
import { createServerStateStore } from '../../src/servers/state-store.ts'
import type { Server, ServerState } from '../../src/servers/registry.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { silentLogger } from '../helper.ts'
import { startTestRedis } from '../redis.ts'

/** Probes only on request, and reads the inventory only for a reason. */
const intervals = { whileUp: 3_600_000, whileDown: 3_600_000, inventory: 3_600_000 }

const redisServer = await startTestRedis()
t.teardown(redisServer.stop)
const redis = new Redis(redisServer.url)
t.teardown(() => { redis.disconnect() })
const states = createServerStateStore(redis, createKeys('sq'))
const simulator = await startSimulator({ speed: Infinity, checkpoints: ['one.safetensors'] })
t.teardown(simulator.close)

function serverCalled (alias: string): Server {
  return { id: alias.toLowerCase(), alias, address: { baseUrl: simulator.url } } as Server
}

/** The simulator as an A1111 shows itself. */
function connect (): A1111Client {
  const client = createA1111Client({ baseUrl: simulator.url })
  return {
    ...client,
    async readJson (path, options) {
      if (path !== '/simulator/about') return await client.readJson(path, options)
      throw new GenerationFailure('server-down', 'route_missing', 'There is no such route.')
    }
  }
}

const client = connect()
t.teardown(client.close)
const reported: boolean[] = []
const monitor = createServerMonitor({
  server: () => serverCalled('Main'),
  client,
  states,
  log: silentLogger,
  intervals,
  onUsable: async usable => { reported.push(usable) }
})
t.teardown(monitor.close)
const titles = async () => {
  await monitor.check()
  return (await states.inventory('main'))?.checkpoints.map(({ title }) => title.replace(/ \[.*/, ''))
}

t.test('a state that differs only in the time of the check is stored once a minute', async t => {
  const state = {
    reachable: 'yes', since: 1, lastError: null, traits: null, inventoryReadAt: 1, baseUrl: simulator.url, checkedAt: 1_000_000
  } as const
  const stored = async (change: Partial<ServerState>) => {
    await states.write('idle', { ...state, ...change })
    return await states.read('idle')
  }
  t.same(await stored({}), state)
  t.match(await stored({ checkedAt: 1_059_000 }), { checkedAt: 1_000_000 })
  t.match(await stored({ checkedAt: 1_060_000 }), { checkedAt: 1_060_000 })
  t.match(await stored({ checkedAt: 1_061_000, lastError: 'gone' }), { checkedAt: 1_061_000, lastError: 'gone' })
  t.match(await stored({ checkedAt: 1_062_000 }), { checkedAt: 1_062_000, lastError: null }, 'a test stored another one')
  t.match(await stored({ checkedAt: 900_000 }), { checkedAt: 900_000 }, 'the clock was set back')
})

t.test('an inventory is read again if the checkpoints differ, and not before', async t => {
  t.same(await titles(), ['one.safetensors'])
  const reads = () => simulator.state().requests['GET /sdapi/v1/samplers']
  t.equal(reads(), 1)
  t.same([await titles(), reads()], [['one.safetensors'], 1])
  simulator.setCheckpoints(['one.safetensors', 'two.safetensors'])
  await client.postJson('/sdapi/v1/refresh-checkpoints', {})
  t.same([await titles(), reads()], [['one.safetensors', 'two.safetensors'], 2])
})

t.test('a server without work has checks of its own interval', async t => {
  const looks = () => simulator.state().requests['GET /sdapi/v1/options'] ?? 0
  const idle = createServerMonitor({
    server: () => serverCalled('Idle'),
    client,
    states,
    log: silentLogger,
    intervals: { ...intervals, whileIdle: 1 },
    isIdle: () => looks() < before + 5,
    onUsable: async () => {}
  })
  t.teardown(idle.close)
  const before = looks()
  await idle.check()
  while (looks() < before + 5) await new Promise(resolve => setImmediate(resolve))
  t.match(await idle.check(), { reachable: 'yes' })
})

t.test('a version is learned from an answer and kept', async t => {
  t.match(monitor.traits(), { kind: 'a1111', version: null })
  monitor.proved('1.10.1')
  await monitor.check()
  t.match(monitor.traits(), { kind: 'a1111', version: '1.10.1' })
  monitor.proved(null)
  await monitor.check()
  t.match(monitor.traits(), { version: '1.10.1' })
})

t.test('only different errors of different requests give a server a break, and it is not offline then', async t => {
  const suspect = async (request: string, words: string) => {
    await monitor.suspect(new GenerationFailure('passing', 'server_error', words), request)
    return monitor.usable()
  }
  for (const request of ['a', 'a', 'b', 'c', 'd', 'e', 'f']) t.equal(await suspect(request, 'The same error.'), true, request)
  monitor.proved(null)
  t.equal(await suspect('g', 'one'), true)
  t.equal(await suspect('h', 'two'), true)
  t.equal(await suspect('i', 'three'), false)
  t.match(await states.read('main'), { reachable: 'suspected', lastError: 'three', since: Number })
  await monitor.check()
  t.equal(monitor.usable(), false, 'it has its break although it answers')
  t.ok(monitor.onTrial())
  monitor.proved(null)
  await monitor.check()
  t.same([monitor.usable(), monitor.onTrial()], [true, false])
  t.same(reported, [true, false, true])
})

t.test('a route that was missing at work stays known until the server was away', async t => {
  await monitor.lacks('/sdapi/v1/img2img')
  t.same(monitor.traits()?.missingRoutes, ['/sdapi/v1/img2img'])
  await monitor.check()
  t.same((await states.read('main'))?.traits?.missingRoutes, ['/sdapi/v1/img2img'])
  await monitor.report(new GenerationFailure('server-down', 'connection_lost', 'The connection broke off.'))
  await monitor.check()
  t.match(monitor.traits(), { missingRoutes: [] })
})

t.test('a check from before a failed generation no longer counts', async t => {
  let isGone = false
  let isSlow = false
  let release = (): void => undefined
  const held = new Promise<void>(resolve => { release = resolve })
  let onWay = (): void => undefined
  const isOnWay = new Promise<void>(resolve => { onWay = resolve })
  const server = connect()
  const restarting = createServerMonitor({
    server: () => serverCalled('Restarting'),
    client: {
      ...server,
      async readJson (path, options) {
        if (isGone) throw new GenerationFailure('server-down', 'connection_refused', 'The server cannot be reached.')
        const answer = await server.readJson(path, options)
        // The last request if nothing has changed.
        if (!isSlow || path !== '/sdapi/v1/sd-models') return answer
        onWay()
        await held
        return answer
      }
    },
    states,
    log: silentLogger,
    intervals,
    onUsable: async () => { /* nobody waits */ }
  })
  t.teardown(async () => {
    await restarting.close()
    await server.close()
  })
  t.match(await restarting.check(), { reachable: 'yes' })
  isSlow = true
  const seen = restarting.check()
  await isOnWay
  await restarting.report(new GenerationFailure('server-down', 'connection_lost', 'The connection broke off.'))
  isGone = true
  release()
  t.match(await seen, { reachable: 'no' })
  t.equal(restarting.usable(), false, 'no further job is sent to a server that has just gone')
})

t.test('what is known of a silent server outlives the process, unless its address is another one', async t => {
  const silent = (baseUrl: string) => createServerMonitor({
    server: () => ({ ...serverCalled('Silent'), address: { baseUrl } }),
    client: {
      ...client,
      async readJson () { throw new GenerationFailure('server-down', 'connection_refused', 'The server cannot be reached.') }
    },
    states,
    log: silentLogger,
    intervals,
    onUsable: async () => { /* nobody waits */ }
  })
  const { traits } = await states.read('main') ?? {}
  t.ok(traits)
  const known = { since: 1000, checkedAt: 2000, answeredAt: 900, lastError: 'gone', traits: traits ?? null, inventoryReadAt: 800 }
  await states.write('silent', { ...known, reachable: 'no', baseUrl: simulator.url })
  const [again, moved] = [silent(simulator.url), silent('http://127.0.0.1:9')]
  t.teardown(async () => { await Promise.all([again.close(), moved.close()]) })
  t.match(await again.check(), { reachable: 'no', since: 1000, answeredAt: 900, traits: { kind: 'a1111' }, inventoryReadAt: 800 })
  t.match(await states.read('silent'), { since: 1000, answeredAt: 900 })
  t.match(await moved.check(), { reachable: 'no', answeredAt: null, traits: null })
})

t.test('differences reload the inventory once each, and at most every 30 seconds', async t => {
  const reads = () => simulator.state().requests['GET /sdapi/v1/samplers'] ?? 0
  let now = performance.now()
  t.intercept(performance, 'now', { value: () => now })
  const differing = createServerMonitor({
    server: () => serverCalled('Differing'),
    client,
    states,
    log: silentLogger,
    intervals,
    onUsable: async () => { /* nobody waits */ }
  })
  t.teardown(differing.close)
  await differing.check()
  const before = reads()
  /** How often the inventory was read since the beginning, once all triggered readings are over. */
  const after = async (...differences: string[]) => {
    differing.differs(differences)
    await differing.check()
    return reads() - before
  }
  t.equal(await after('one'), 0, 'it was read a moment ago')
  now += 30_000
  t.equal(await after(), 1, 'but is read when its time has come')
  now += 30_000
  t.equal(await after('one'), 1, 'the same says nothing new')
  t.equal(await after('two', 'three'), 2)
  t.equal(await after('four'), 2)
  now += 30_000
  t.equal(await after('five'), 3, 'four and five together')
  now += 30_000
  t.equal(await after('one', 'two', 'three', 'four', 'five'), 3)
})

t.test('the lists of an idle server are read again less often', async t => {
  const reads = () => simulator.state().requests['GET /sdapi/v1/samplers'] ?? 0
  let now = performance.now()
  let isIdle = true
  t.intercept(performance, 'now', { value: () => now })
  const resting = createServerMonitor({
    server: () => serverCalled('Resting'),
    client,
    states,
    log: silentLogger,
    intervals: { ...intervals, inventory: 120_000, inventoryWhileIdle: 600_000 },
    isIdle: () => isIdle,
    onUsable: async () => { /* nobody waits */ }
  })
  t.teardown(resting.close)
  const before = reads()
  const after = async () => {
    await resting.check()
    return reads() - before
  }
  t.equal(await after(), 1)
  now += 599_000
  t.equal(await after(), 1)
  isIdle = false
  t.equal(await after(), 2, 'a job runs')
  isIdle = true
  now += 601_000
  t.equal(await after(), 3)
})

t.test('problems of this machine or Redis make no server offline', async t => {
  const seen: boolean[] = []
  let problem: Error | null = null
  const watched = createServerMonitor({
    server: () => serverCalled('Watched'),
    client: {
      ...client,
      async readJson (...parameters) {
        if (problem !== null) throw problem
        return await client.readJson(...parameters)
      }
    },
    states,
    log: silentLogger,
    intervals,
    onUsable: async usable => { seen.push(usable) }
  })
  t.teardown(watched.close)
  t.match(await watched.check(), { reachable: 'yes' })
  await redis.config('SET', 'maxmemory', '1')
  t.match(await watched.check(), { reachable: 'yes' }, 'Redis takes no writes')
  await redis.config('SET', 'maxmemory', '0')
  problem = connectionFailure(Object.assign(new Error('connect EMFILE'), { code: 'EMFILE', syscall: 'connect' }), 'connecting')
  t.match(problem, { failureClass: 'internal', code: 'out_of_handles' })
  t.match(await watched.check(), { reachable: 'yes' }, 'no connection can be opened')
  t.same(seen, [true])
  for (const code of ['ECONNREFUSED', 'ECONNRESET', 'EPIPE']) {
    problem = connectionFailure(Object.assign(new Error(`connect ${code}`), { code, syscall: 'connect' }), 'connecting')
    t.match(await watched.check(), { reachable: 'no' }, `${code} of the server itself, which Redis' connections know, too`)
  }
  t.same(seen, [true, false])
})

t.test('a server that refuses connections is offline', async t => {
  const refusing = createA1111Client({ baseUrl: 'http://127.0.0.1:1' })
  const watched = createServerMonitor({
    server: () => serverCalled('Refusing'),
    client: simulatorThenRefusing(client, refusing),
    states,
    log: silentLogger,
    intervals,
    onUsable: async () => { /* nobody waits */ }
  })
  t.teardown(async () => {
    await watched.close()
    await refusing.close()
  })
  t.match(await watched.check(), { reachable: 'yes' })
  t.match(await watched.check(), { reachable: 'no' })
})

/** A monitor of its own; the test can change the server's answers to some paths. */
function watchServer (alias: string, times: Partial<MonitorIntervals>) {
  const answers = new Map<string, unknown>()
  const asked = connect()
  const watching = createServerMonitor({
    server: () => serverCalled(alias),
    client: {
      ...asked,
      async readJson (path, options) {
        const answer = answers.get(path)
        if (answer instanceof Error) throw answer
        return answers.has(path) ? answer : await asked.readJson(path, options)
      }
    },
    states,
    log: silentLogger,
    intervals: { ...intervals, ...times },
    onUsable: async () => { /* nobody waits */ }
  })
  t.teardown(async () => {
    await watching.close()
    await asked.close()
  })
  return { watching, answers, loras: async () => (await states.freshInventory(alias.toLowerCase()))?.loras.length ?? 0 }
}

const noRoute = new GenerationFailure('server-down', 'route_missing', 'There is no such route.')

t.test('a suddenly empty list is read several times before it is believed', async t => {
  const { watching, answers, loras } = watchServer('Emptied', { inventory: 0 })
  await watching.check()
  const before = await loras()
  t.ok(before > 0)
  for (const answer of [[], noRoute, []]) {
    answers.set('/sdapi/v1/loras', answer)
    t.match(await watching.check(), { reachable: 'yes' })
    t.equal(await loras(), before)
  }
  answers.delete('/sdapi/v1/loras')
  await watching.check()
  answers.set('/sdapi/v1/loras', [])
  const seen = []
  for (let round = 0; round < 6; round++) {
    await watching.check()
    seen.push(await loras())
  }
  t.same(seen, [before, before, before, before, before, 0])
})

t.test('a server that returns without its lists is not used until it has them, nor paused for ever', async t => {
  const start = { known: 300, unknown: 300 }
  for (const path of ['/sdapi/v1/loras', '/controlnet/model_list', '/sdapi/v1/samplers']) {
    const { watching, answers } = watchServer(`Back${path.length}`, { start })
    t.match(await watching.check(), { reachable: 'yes' })
    answers.set('/sdapi/v1/options', new GenerationFailure('server-down', 'connection_refused', 'Nothing listens.'))
    t.match(await watching.check(), { reachable: 'no' })
    answers.delete('/sdapi/v1/options')
    answers.set(path, noRoute)
    t.match(await watching.check(), { reachable: 'no', lastError: /still starting: it does not offer its/ }, path)
    answers.delete(path)
    t.match(await watching.check(), { reachable: 'yes' })
    answers.set('/sdapi/v1/options', new GenerationFailure('server-down', 'connection_refused', 'Nothing listens.'))
    await watching.check()
    answers.delete('/sdapi/v1/options')
    answers.set(path, noRoute)
    const begin = performance.now()
    while ((await watching.check()).reachable !== 'yes') t.ok(performance.now() - begin < 30_000)
    t.ok(performance.now() - begin >= start.known, 'it was given time')
  }
})

t.test('a new server waits until its kind has the parts that it mounts last', async t => {
  const { watching, answers } = watchServer('Unknown', {})
  answers.set('/sdapi/v1/loras', noRoute)
  t.match(await watching.check(), { reachable: 'no', lastError: /LoRAs/ })
  answers.delete('/sdapi/v1/loras')
  t.match(await watching.check(), { reachable: 'yes' })
})

t.test('an error that can be caused by a start pauses the server, at most three times', async t => {
  const { watching } = watchServer('Early', { whileDown: 10 })
  const failure = new GenerationFailure('request', 'request_failed', 'IndexError: list assignment index out of range')
  t.equal(await watching.stillStarts(failure), false, 'nothing has started yet')
  await watching.check()
  for (let round = 0; round < 3; round++) {
    t.same([await watching.stillStarts(failure), watching.usable()], [true, false])
    while (!watching.usable()) await watching.check()
  }
  t.same([await watching.stillStarts(failure), watching.usable()], [false, true])
})

t.test('routes that only accept POST are checked once per start', async t => {
  const { watching } = watchServer('Routes', { inventory: 0 })
  simulator.reset()
  for (let round = 0; round < 4; round++) await watching.check()
  const { requests } = simulator.state()
  t.equal(requests['GET /openapi.json'], 1)
  t.same(Object.keys(requests).filter(route => /^GET .*(txt2img|img2img|interrupt|extra-|interrogate|detect)/.test(route)), [])
})

/** Answers one probe, and refuses connections from then on. */
function simulatorThenRefusing (first: A1111Client, then: A1111Client): A1111Client {
  let looks = 0
  return {
    ...first,
    async readJson (path, options) {
      if (path === '/sdapi/v1/options') looks += 1
      return await (looks > 1 ? then : first).readJson(path, options)
    }
  }
}
