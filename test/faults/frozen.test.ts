import t, { type Test } from 'tap'
import { startJob } from '../../src/jobs/scripts/index.ts'
import { renewLeases } from '../../src/servers/lease.ts'
import { quick } from '../helper.ts'
import { checkInvariants } from './invariants.ts'
import { startFleet, type Fleet } from './processes.ts'
import { startRedisProxy } from './redis-proxy.ts'

const long = { ...quick, prompt: 'a long one', steps: 40 }
/** One generation of 16 seconds, unless it is interrupted. */
const onceSlow = { kind: 'slow', factor: 20, prompt: long.prompt } as const

function generationsOf ({ simulator }: Fleet, id: string) {
  return simulator.state().generations.filter(({ taskId }) => taskId === id)
}

async function until (holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!await holds()) await new Promise(resolve => { setTimeout(resolve, 5) })
}

/** Whether the queue still has this entry. */
async function isQueued ({ look, keys }: Fleet, entry: string): Promise<boolean> {
  const [serverId] = await look.hkeys(keys.key('servers'))
  const queue = `${keys.bullPrefix}:generation-${serverId}`
  const places = await Promise.all([
    ...['active', 'wait'].map(async list => await look.lpos(`${queue}:${list}`, entry)),
    look.zscore(`${queue}:prioritized`, entry)
  ])
  return places.some(place => place !== null)
}

/**
 * Two workers; the first freezes once it generates. Resolves when the other serves; that one reaches Redis through the
 * proxy.
 */
async function freezeOne (t: Test, fleet: Fleet, first: string) {
  const proxy = await startRedisProxy(t, fleet.redis)
  const frozen = await fleet.worker()
  await until(() => generationsOf(fleet, first).length > 0)
  const other = await fleet.worker({ REDIS_URL: proxy.url })
  frozen.signal('SIGSTOP')
  await other.printed(/generation started/)
  return { frozen, other, proxy }
}

t.test('workers that freeze', async t => {
  const fleet = await startFleet(t)
  const api = await fleet.apiHere()

  await t.test('a worker that was frozen until another took over does not touch the other\'s generation', async t => {
    const next = { ...long, prompt: 'another long one' }
    fleet.simulator.setFaults([onceSlow, { ...onceSlow, factor: 10, prompt: next.prompt }])
    const ids = [await api.submit(long), await api.submit(quick), await api.submit(next)]
    const [first = '', , third = ''] = ids
    const { frozen, other, proxy } = await freezeOne(t, fleet, first)
    frozen.signal('SIGCONT')
    await frozen.printed(/another process serves/)
    await until(async () => !await isQueued(fleet, `${third}_1`))
    await until(() => generationsOf(fleet, third).length > 0)
    // after an outage it looks for unfinished work at once, otherwise twice a minute
    proxy.cut()
    proxy.repair()
    for (const id of ids) await api.until(id, 'completed', 'failed', 'cancelled')
    t.same(ids.map(id => generationsOf(fleet, id).map(({ interrupted }) => interrupted)),
      [[true, false], [false], [false]])
    t.notMatch(other.output(), /its worker is gone.*its worker is gone/s, 'what it runs was not taken from it')
    await checkInvariants(t, ids, fleet)
    for (const worker of [frozen, other]) await worker.kill()
  })

  await t.test('a worker that was frozen between its note and its request sends nothing after another took over', async t => {
    const ahead = { ...long, prompt: 'ahead' }
    fleet.simulator.setFaults([{ kind: 'hang', prompt: ahead.prompt, sticky: true }])
    const proxy = await startRedisProxy(t, fleet.redis)
    const frozen = await fleet.worker({ REDIS_URL: proxy.url })
    // From here on it knows the server, so that it looks at nothing between the note of a job and its request.
    await api.until(await api.submit(quick), 'completed')
    const ids = [await api.submit(ahead), await api.submit(quick)]
    const [first = '', second = ''] = ids
    await until(() => generationsOf(fleet, first).length > 0)
    await until(async () => await fleet.look.zscore(fleet.keys.key('claimed'), second) !== null)
    // Notices can have been lost, so the second job's request waits for its note.
    await fleet.look.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(async () => Number((await fleet.look.pubsub('NUMSUB', fleet.keys.channel('taken')))[1]) > 0)
    const noted = new Promise<void>(resolve => {
      proxy.beforeAnswer([startJob.sha], () => {
        frozen.signal('SIGSTOP')
        resolve()
      })
    })
    fleet.simulator.setFaults([])
    await noted
    const other = await fleet.worker()
    for (const id of ids) t.equal((await api.until(id, 'completed', 'failed')).status, 'completed')
    // It gets no answer yet by which it would see that its lease is lost.
    const held = proxy.hold([renewLeases.sha])
    frozen.signal('SIGCONT')
    const release = await held
    // Its question can be answered before this looks.
    const knows = () => /another process serves/.test(frozen.output())
    await until(() => proxy.isWaiting(':fence') || knows() || generationsOf(fleet, second).length > 1)
    release()
    await frozen.printed(/another process serves/)
    const next = await api.submit(quick)
    await api.until(next, 'completed')
    t.same([second, next].map(id => generationsOf(fleet, id).length), [1, 1])
    t.equal(fleet.simulator.state().maxInFlight, 1, 'the server never had two at once')
    await checkInvariants(t, [...ids, next], fleet)
    for (const worker of [frozen, other]) await worker.kill()
  })
})
