import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { createKeys } from '../../src/lib/keys.ts'
import { hasEnded, identify } from '../../src/redis/private/process.ts'
import {
  createLeaseStore, createWorkerRoster, describeHolder, isHolderGone, type LeaseHolder, type LeaseStore, shareServers,
  writeHolder
} from '../../src/servers/lease.ts'
import { startTestRedis } from '../redis.ts'

const minute = 60_000
const own = describeHolder('own')

/** A sleeping process as the holder of leases, and a function that kills it. */
async function startNeighbour (): Promise<{ holder: LeaseHolder, kill: () => Promise<void> }> {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child, 'spawn')
  return {
    holder: { id: 'neighbour', space: own.space, process: identify(child.pid ?? 0) ?? null },
    async kill () {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    }
  }
}

// Except on Linux there is no proof, and leases must expire.
t.equal(own.space === null, process.platform !== 'linux')
const onLinux = own.space === null ? { skip: 'needs /proc' } : {}

t.test('a lease is inherited at once from a holder that was seen to die, by one of its observers', onLinux, async t => {
  const server = await startTestRedis()
  t.teardown(server.stop)
  const redis = new Redis(server.url)
  t.teardown(() => { redis.disconnect() })
  const keys = createKeys('sq')
  const { holder, kill } = await startNeighbour()
  const theirs = createLeaseStore(redis, keys, holder)
  const [ours, another] = [own, describeHolder('another')].map(one => createLeaseStore(redis, keys, one))
  t.same(await theirs.acquire('s', minute), { kind: 'taken', fence: 1 })
  t.match(await ours?.acquire('s', minute), { kind: 'held', remainingMs: Number }, 'not while it lives')
  await kill()
  const answers = await Promise.all([ours?.acquire('s', minute), another?.acquire('s', minute)])
  t.same(answers.map(answer => answer?.kind).toSorted(), ['held', 'taken'])
  t.match(answers.find(answer => answer?.kind === 'taken'), { fence: 2 }, 'the fence rises as with every holder')
  t.equal(await theirs.renew('s', 1, minute), false, 'whatever the dead one still says comes too late')
  await theirs.release('s')
  t.match(await theirs.acquire('s', minute), { kind: 'held' })
})

t.test('only proof counts: a holder that is invisible from here can be alive', onLinux, async t => {
  const { holder, kill } = await startNeighbour()
  t.equal(isHolderGone(writeHolder(holder), own), false)
  t.equal(isHolderGone(writeHolder(own), own), false)
  await kill()
  t.equal(isHolderGone(writeHolder(holder), own), true)
  const { process: dead } = holder
  t.equal(isHolderGone(writeHolder({ ...holder, space: 'another boot pid:[1]' }), own), false)
  t.equal(isHolderGone(writeHolder({ ...holder, space: null }), own), false)
  t.equal(isHolderGone(writeHolder({ ...holder, process: null }), own), false)
  t.equal(isHolderGone('no holder at all', own), false)
  t.equal(isHolderGone('null', own), false)
  t.ok(dead !== null && hasEnded(dead))
  t.equal(hasEnded({ pid: process.pid, started: 'before' }), true, 'its number is another process\'s now')
})

/** Two living processes, one Redis, and a clock that the test moves. */
async function openLeases (t: Test) {
  const server = await startTestRedis()
  t.teardown(server.stop)
  const redis = new Redis(server.url)
  t.teardown(() => { redis.disconnect() })
  const keys = createKeys('sq')
  // Whole milliseconds, so that sums of them are exact.
  const begin = Math.floor(performance.now())
  const clock = { now: begin }
  t.intercept(performance, 'now', { value: () => clock.now })
  const [theirs, ours] = ['one', 'other'].map(name => createLeaseStore(redis, keys, describeHolder(name))) as [LeaseStore, LeaseStore]
  return {
    redis,
    theirs,
    ours,
    lease: keys.key('lease', 's'),
    /** Looks each second, like workers. */
    async look (seconds: number) {
      for (let second = 0; second < seconds; second++) {
        clock.now += 1000
        const answer = await ours.acquire('s', minute)
        if (answer.kind === 'taken') return second + 1
      }
      return null
    },
    pass (milliseconds: number) { clock.now += milliseconds }
  }
}

t.test('a lease that Redis drops while its holder renews it is not taken: the clock was changed', async t => {
  const { redis, theirs, ours, lease, look } = await openLeases(t)
  await theirs.acquire('s', minute)
  t.match(await ours.acquire('s', minute), { kind: 'held' })
  for (let round = 0; round < 100; round++) {
    await redis.del(lease)
    t.equal(await look(1), null)
    t.equal(await theirs.renew('s', 1, minute), true)
  }
  await redis.del(lease)
  t.equal(await look(100), 46, 'but it is once nobody renews it')
})

t.test('a lease that Redis keeps is taken if it is not renewed', async t => {
  const { redis, theirs, ours, lease, look } = await openLeases(t)
  await theirs.acquire('s', minute)
  t.match(await ours.acquire('s', minute), { kind: 'held' })
  await redis.pexpire(lease, 3_600_000)
  t.equal(await look(100), 60)
  t.equal(await theirs.renew('s', 1, minute), false)
})

t.test('a process that paused its observation starts it again', async t => {
  const { theirs, ours, pass, look } = await openLeases(t)
  await theirs.acquire('s', minute)
  t.match(await ours.acquire('s', minute), { kind: 'held' })
  pass(10 * minute)
  t.match(await ours.acquire('s', minute), { kind: 'held' }, 'both may have stood still with Redis')
  t.equal(await look(100), 60)
})

t.test('a lease that lapsed and that no other process took continues under its fence', async t => {
  const { redis, theirs, ours, lease } = await openLeases(t)
  t.same(await theirs.acquire('s', minute), { kind: 'taken', fence: 1 })
  await redis.del(lease)
  t.equal(await theirs.renew('s', 1, minute), true)
  await redis.del(`${lease}:fence`)
  t.equal(await theirs.renew('s', 1, minute), true, 'also where Redis lost its last moments')
  t.equal(await theirs.isHeld('s', 1), true)
  await theirs.release('s')
  t.same(await ours.acquire('s', minute), { kind: 'taken', fence: 2 }, 'released, it is free at once')
  t.equal(await theirs.isHeld('s', 1), false)
})

t.test('a process that starts when Redis has dropped a lease takes it', async t => {
  const { redis, theirs, ours, lease } = await openLeases(t)
  await theirs.acquire('s', minute)
  await redis.del(lease)
  t.same(await ours.acquire('s', minute), { kind: 'taken', fence: 2 })
  t.equal(await theirs.renew('s', 1, minute), false)
})

t.test('a lease that is handed over belongs to its heir in the same step', async t => {
  const { redis, theirs, ours, lease, look } = await openLeases(t)
  const keys = createKeys('sq')
  const third = createLeaseStore(redis, keys, describeHolder('third'))
  const heir = writeHolder(describeHolder('other'))
  await theirs.acquire('s', minute)
  await third.release('s', heir)
  t.equal(await theirs.isHeld('s', 1), true, 'only its holder hands it over')
  t.match(await ours.acquire('s', minute), { kind: 'held' })
  await theirs.release('s', heir)
  t.match(await third.acquire('s', minute), { kind: 'held' }, 'nobody takes it in between')
  t.match(await theirs.acquire('s', minute), { kind: 'held' })
  t.equal(await theirs.renew('s', 1, minute), false)
  t.same(await ours.acquire('s', minute), { kind: 'taken', fence: 2 })
  t.equal(await ours.renew('s', 2, minute), true)

  await ours.release('s', writeHolder(describeHolder('dead')))
  t.match(await ours.acquire('s', minute), { kind: 'held' })
  await redis.pexpire(lease, 3_600_000)
  t.equal(await look(100), 4, 'an heir that does not take it up loses it')
})

t.test('workers know each other by the beat of their announcements', async t => {
  const { redis, pass } = await openLeases(t)
  const keys = createKeys('sq')
  const [one, other] = ['one', 'other'].map(name => createWorkerRoster(redis, keys, describeHolder(name)))
  if (one === undefined || other === undefined) return
  await other.announce([])
  await one.announce([])
  t.same(one.others(), [], 'the announcement can be that of a process that died before')
  await other.announce(['s'])
  pass(1000)
  await one.announce([])
  t.same(one.others(), [{ holder: other.own, wanted: ['s'], isFit: true }])
  pass(3999)
  await one.announce([])
  t.same(one.others().length, 1)
  pass(1)
  await one.announce([])
  t.same(one.others(), [], 'it is silent for too long')
  await other.announce([])
  await one.announce([])
  t.same(one.others().length, 1)
  await other.leave()
  await one.announce([])
  t.same(one.others(), [])
  await other.announce([])
  await one.announce([])
  pass(minute + 1)
  await one.announce([])
  t.same(await redis.hkeys(keys.key('workers')), [one.own], 'what nobody keeps up is removed')
})

t.test('a worker that was seen to die loses its share at once', onLinux, async t => {
  const { redis } = await openLeases(t)
  const keys = createKeys('sq')
  const { holder, kill } = await startNeighbour()
  const [ours, theirs] = [own, holder].map(one => createWorkerRoster(redis, keys, one))
  if (ours === undefined || theirs === undefined) return
  for (let round = 0; round < 2; round++) {
    await theirs.announce([])
    await ours.announce([])
  }
  t.equal(ours.others().length, 1)
  await kill()
  t.same(ours.others(), [])
})

t.test('servers are shared evenly among the workers, by every process alike, and few move', async t => {
  const servers = Array.from({ length: 40 }, (_, index) => `server ${index}`)
  const workers = Array.from({ length: 8 }, (_, index) => `worker ${index}`)
  for (let count = 1; count <= workers.length; count++) {
    const now = shareServers(servers, workers.slice(0, count))
    const sizes = workers.slice(0, count).map(worker => [...now.values()].filter(one => one === worker).length)
    t.equal(now.size, servers.length)
    t.ok(Math.max(...sizes) <= Math.ceil(servers.length / count), `${count}: ${sizes.join()}`)
    const elsewhere = shareServers(servers.toReversed(), workers.slice(0, count).toReversed())
    t.ok(servers.every(server => elsewhere.get(server) === now.get(server)))
    if (count === 1) continue
    const before = shareServers(servers, workers.slice(0, count - 1))
    const moved = servers.filter(server => now.get(server) !== before.get(server))
    t.ok(moved.length <= 2 * Math.ceil(servers.length / count), `${moved.length} move to the worker ${count}`)
  }
  t.same([...shareServers(['s'], ['one', 'other']).keys()], ['s'])
  t.equal(shareServers([], ['one']).size, 0)
  t.equal(shareServers(['s'], []).size, 0)
})

t.test('all leases of a process are renewed with one script, which takes little more than a command for each', async t => {
  const server = await startTestRedis()
  t.teardown(server.stop)
  const redis = new Redis(server.url)
  t.teardown(() => { redis.disconnect() })
  const leases = createLeaseStore(redis, createKeys('sq'), own)
  const servers = Array.from({ length: 12 }, (_, number) => `server-${number}`)
  const renew = async () => await Promise.all(servers.map(async server => await leases.renew(server, 1, minute)))
  for (const serverId of servers) t.match(await leases.acquire(serverId, minute), { kind: 'taken', fence: 1 })
  await renew()

  await redis.config('RESETSTAT')
  t.same(await renew(), servers.map(() => true))
  const counts = [...(await redis.info('commandstats')).matchAll(/cmdstat_(\w+):calls=(\d+)/g)]
    .map(([, name, calls]) => [name, Number(calls)] as const)
  t.equal(new Map(counts).get('evalsha'), 1)
  const ofScript = counts.filter(([name]) => !['evalsha', 'config', 'info'].includes(String(name)))
  t.ok(ofScript.reduce((sum, [, calls]) => sum + calls, 0) <= servers.length + 3, JSON.stringify(ofScript))
})
