import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { noteProgress, startJob } from '../../src/jobs/scripts/index.ts'
import { quick } from '../helper.ts'
import { checkInvariants } from './invariants.ts'
import { type Fleet, startFleet } from './processes.ts'
import { startRedisProxy } from './redis-proxy.ts'

/** The first generation of this prompt takes longer than any takeover; later ones do not. */
const long = { ...quick, prompt: 'a long one', steps: 40 }
const onceSlow = { kind: 'slow', factor: 120, prompt: long.prompt } as const
/** Jobs with this prompt stay at a step until the fault is taken away, so that nothing has to be quick. */
const hanging = { kind: 'hang', prompt: 'ahead', sticky: true } as const
/** The command that notes that a job begins. */
const beginning = [startJob.sha]

function generationsOf ({ simulator }: Pick<Fleet, 'simulator'>, id: string) {
  return simulator.state().generations.filter(({ taskId }) => taskId === id)
}

/** @returns whether it was sent so many times within so many milliseconds */
async function untilGenerating (
  fleet: Pick<Fleet, 'simulator'>, id: string, within = Infinity, times = 1
): Promise<boolean> {
  const until = performance.now() + within
  while (generationsOf(fleet, id).length < times && performance.now() < until) await sleep(5)
  return generationsOf(fleet, id).length >= times
}

t.test('a job is sent while Redis still notes that it begins', async t => {
  const fleet = await startFleet(t)
  const api = await fleet.apiHere()
  const proxy = await startRedisProxy(t, fleet.redis)
  const throughProxy = { REDIS_URL: proxy.url }
  const accepted: string[] = []

  async function submit (job: Readonly<Record<string, unknown>>): Promise<string> {
    const id = await api.submit(job)
    accepted.push(id)
    return id
  }

  let worker = await fleet.worker(throughProxy)
  // Now Redis knows the scripts, so that each job begins by their SHA-1, and tasks are known to be told apart.
  await api.until(await submit({ ...long, prompt: 'the first one' }), 'completed')
  const [serverId = ''] = await fleet.look.hkeys(fleet.keys.key('servers'))
  const learned = async () => await fleet.look.hget(fleet.keys.key('server', serverId, 'learned'), 'tasksKnown')
  while (await learned() !== 'true') await sleep(5)

  /** Whether the worker has heard that it begins nothing. */
  const isPaused = async () => await fleet.look.hexists(`${fleet.keys.bullPrefix}:generation-${serverId}:meta`, 'paused') === 1

  /** Holds the note of a job that generates. On a busy machine a worker can be in doubt: it waits for Redis then. */
  async function generating (
    job: Readonly<Record<string, unknown>>, faults: Parameters<typeof fleet.simulator.setFaults>[0] = []
  ) {
    for (;;) {
      fleet.simulator.setFaults(faults)
      const held = proxy.hold(beginning)
      const id = await submit(job)
      const release = await held
      if (await untilGenerating(fleet, id, 1500)) {
        t.equal((await api.job(id)).status, 'pending', 'the record does not say so yet')
        return { id, release }
      }
      release()
      await api.request('POST', `/api/v2/jobs/${id}/cancel`)
      await api.until(id, 'cancelled', 'completed')
    }
  }

  /** The first generation was stopped, and the next one's images are the job's. */
  async function checkSecondCounts (t: Test, id: string): Promise<void> {
    t.match(generationsOf(fleet, id), [{ interrupted: true }, { interrupted: false, outcome: 'done' }])
    t.equal(generationsOf(fleet, id).length, 2)
    t.equal(fleet.simulator.state().maxInFlight, 1, 'the server never had two at once')
    await checkInvariants(t, accepted, fleet)
  }

  await t.test('a worker killed before the note was durable: the next one stops that generation', async t => {
    const { id } = await generating(long, [onceSlow])
    await worker.kill()
    worker = await fleet.worker(throughProxy)
    await api.until(id, 'completed', 'failed')
    await checkSecondCounts(t, id)
  })

  await t.test('workers killed again and again before the note: only the first generation goes without one', async t => {
    const { id } = await generating(long, [onceSlow])
    for (let kills = 0; kills < 3; kills++) {
      await worker.kill()
      const held = proxy.hold(beginning)
      worker = await fleet.worker(throughProxy)
      await held
      await untilGenerating(fleet, id, 1500, kills + 2)
    }
    await worker.kill()
    worker = await fleet.worker(throughProxy)
    t.equal((await api.until(id, 'completed', 'failed')).status, 'completed')
    t.equal(generationsOf(fleet, id).length, 2)
    t.same(await fleet.look.hmget(fleet.keys.key('job', id), 'starts', 'sends'), ['1', '1'])
    t.equal(fleet.simulator.state().maxInFlight, 1, 'the server never had two at once')
    await checkInvariants(t, accepted, fleet)
  })

  for (const when of ['before', 'after'] as const) {
    await t.test(`a worker killed right ${when} Redis noted the beginning`, async t => {
      const struck = new Promise<void>(resolve => {
        proxy.strikeAt(beginning, when, () => {
          worker.signal('SIGKILL')
          resolve()
        })
      })
      const ids = [await submit(quick), await submit(quick)]
      await struck
      await worker.ended
      worker = await fleet.worker(throughProxy)
      for (const id of ids) t.equal((await api.until(id, 'completed', 'failed')).status, 'completed')
      t.ok(generationsOf(fleet, ids[0] ?? '').length <= 2, 'one more for the kill at the most')
      t.equal(generationsOf(fleet, ids[1] ?? '').length, 1)
      t.equal(fleet.simulator.state().maxInFlight, 1, 'the server never had two at once')
      await checkInvariants(t, accepted, fleet)
    })
  }

  await t.test('cancelled before the note arrives: its generation is interrupted, and the next job begins', async t => {
    const { id, release } = await generating({ ...long, steps: 400 }, [onceSlow])
    const next = await submit(quick)
    t.equal((await api.request('POST', `/api/v2/jobs/${id}/cancel`)).status, 200)
    t.equal((await api.job(id)).status, 'cancelled')
    // Its progress is noted behind that.
    while (!proxy.isWaiting(noteProgress.sha)) await sleep(5)
    release()
    await api.until(next, 'completed', 'failed')
    t.match(generationsOf(fleet, id), [{ interrupted: true }])
    t.equal(generationsOf(fleet, id).length, 1)
    t.equal(generationsOf(fleet, next).length, 1)
    t.match(await api.job(id), { status: 'cancelled', images: [] }, 'it stays cancelled, without images')
    await checkInvariants(t, accepted, fleet)
  })

  await t.test('cancelled, and the lease lost, before the note arrives: the next holder interrupts it', async t => {
    const { id, release } = await generating({ ...long, steps: 400 }, [onceSlow])
    t.equal((await api.request('POST', `/api/v2/jobs/${id}/cancel`)).status, 200)
    const next = await submit(quick)
    await worker.kill()
    release()
    worker = await fleet.worker(throughProxy)
    t.equal((await api.until(next, 'completed', 'failed')).status, 'completed')
    t.match(generationsOf(fleet, id), [{ interrupted: true }])
    t.equal((await api.job(id)).status, 'cancelled')
    t.equal(fleet.simulator.state().maxInFlight, 1, 'the server never had two at once')
    await checkInvariants(t, accepted, fleet)
  })

  await t.test('given back to the pool before the note arrives: it is generated again, and only that counts', async t => {
    const { id, release } = await generating({ ...long, steps: 100 }, [onceSlow])
    t.equal((await api.request('PATCH', `/api/v2/jobs/${id}`, { priority: 9 })).status, 200)
    release()
    t.equal((await api.until(id, 'completed', 'failed')).status, 'completed')
    await checkSecondCounts(t, id)
  })

  await t.test('given back again and again before the note arrives: only the first generation goes without one', async t => {
    const { id, release: first } = await generating({ ...long, steps: 100 }, [onceSlow])
    let release = first
    for (let priority = 6; priority < 9; priority++) {
      t.equal((await api.request('PATCH', `/api/v2/jobs/${id}`, { priority })).status, 200)
      const next = proxy.hold(beginning)
      release()
      release = await next
      await untilGenerating(fleet, id, 1500, priority - 4)
    }
    release()
    t.equal((await api.until(id, 'completed', 'failed')).status, 'completed')
    await checkSecondCounts(t, id)
  })

  const switchQueue = async (enabled: boolean) => await api.request('PUT', '/api/v1/settings/queue-processing', { enabled })
  for (const [how, close, open] of [
    ['the queue switched off', async () => await switchQueue(false), async () => await switchQueue(true)],
    ['the server paused', async () => await api.request('POST', '/api/v1/servers/Main/pause'),
      async () => await api.request('POST', '/api/v1/servers/Main/resume')]
  ] as const) {
    await t.test(`${how} before the note arrives: the job does not begin until that is undone`, async t => {
      const { id, release } = await generating({ ...long, steps: 100 }, [onceSlow])
      t.equal((await close()).status, 200)
      release()
      while (generationsOf(fleet, id).some(({ outcome }) => outcome === 'running')) await sleep(5)
      while (!await isPaused()) await sleep(5)
      t.match(await api.job(id), { status: 'pending', started_at: null })
      t.equal((await open()).status, 200)
      t.equal((await api.until(id, 'completed', 'failed')).status, 'completed')
      t.same(await fleet.look.hmget(fleet.keys.key('job', id), 'starts', 'sends'), ['1', '1'])
      await checkSecondCounts(t, id)
    })
  }

  await t.test('a job that was cancelled while it waited behind another is never sent', async t => {
    fleet.simulator.setFaults([hanging])
    const first = await submit({ ...long, prompt: hanging.prompt })
    await api.until(first, 'processing')
    const claimed = await submit(quick)
    while (await fleet.look.zscore(fleet.keys.key('claimed'), claimed) === null) await sleep(5)
    t.equal((await api.request('POST', `/api/v2/jobs/${claimed}/cancel`)).status, 200)
    const last = await submit(quick)
    fleet.simulator.setFaults([])
    await api.until(last, 'completed', 'failed')
    t.equal(generationsOf(fleet, claimed).length, 0)
    t.equal((await api.job(first)).status, 'completed')
  })

  await t.test('a job at its turn does not wait for lists that its preparation has looked at', async t => {
    const asked = [fleet.keys.key('server', serverId, 'inventory')]
    /** A busy machine can still prepare the job, or look at the server, when the first one ends. */
    const tries: string[] = []
    while (tries.at(-1) !== 'sent' && tries.length < 3) {
      fleet.simulator.setFaults([hanging])
      const first = await submit({ ...long, prompt: hanging.prompt })
      await untilGenerating(fleet, first)
      const second = await submit(quick)
      while (await fleet.look.zscore(fleet.keys.key('claimed'), second) === null) await sleep(5)
      // The worker's own copy of the lists is then so old that it would ask Redis again.
      await sleep(1100)
      const held = proxy.hold(asked)
      fleet.simulator.setFaults([])
      const release = await Promise.race([held, untilGenerating(fleet, second).then(() => null)])
      tries.push(release === null ? 'sent' : 'asked Redis')
      if (release === null) proxy.hold([]).catch(() => {})
      release?.()
      for (const id of [first, second]) await api.until(id, 'completed')
    }
    t.equal(tries.at(-1), 'sent', tries.join(', '))
  })

  await t.test('while Redis is away, a job at its turn is not sent; afterwards it is, once', async t => {
    fleet.simulator.setFaults([hanging])
    const first = await submit({ ...long, prompt: hanging.prompt })
    await untilGenerating(fleet, first)
    const second = await submit(quick)
    while (await fleet.look.zscore(fleet.keys.key('claimed'), second) === null) await sleep(5)
    proxy.cut()
    fleet.simulator.setFaults([])
    while (generationsOf(fleet, first).some(({ outcome }) => outcome === 'running')) await sleep(5)
    await worker.printed(/worker connection/)
    t.equal(generationsOf(fleet, second).length, 0)
    proxy.repair()
    for (const id of [first, second]) t.equal((await api.until(id, 'completed', 'failed')).status, 'completed')
    t.same([first, second].map(id => generationsOf(fleet, id).length), [1, 1])
    await checkInvariants(t, accepted, fleet)
  })

  await t.test('a worker that loses its lease before the note arrives leaves the job to its successor', async t => {
    const { id, release } = await generating(long, [onceSlow])
    await fleet.worker()
    await api.until(id, 'completed', 'failed')
    release()
    await worker.printed(/another process serves/)
    t.match(generationsOf(fleet, id), [{ interrupted: true }, { interrupted: false, outcome: 'done' }])
    t.equal(generationsOf(fleet, id).length, 2)
    const next = await submit(quick)
    await api.until(next, 'completed')
    t.match(generationsOf(fleet, next), [{ interrupted: false }], 'the former holder interrupts nothing')
    t.equal(fleet.simulator.state().maxInFlight, 1, 'the server never had two at once')
    await checkInvariants(t, accepted, fleet)
  })
})

t.test('a server that does not tell tasks apart never gets the next one while it can still have one', async t => {
  const fleet = await startFleet(t, { internalProgress: false })
  const api = await fleet.apiHere()
  const proxy = await startRedisProxy(t, fleet.redis)
  const worker = await fleet.worker({ REDIS_URL: proxy.url })
  await api.until(await api.submit(quick), 'completed')
  for (let id = ''; ;) {
    // Longer than a takeover.
    fleet.simulator.setFaults([{ ...onceSlow, factor: 15 }])
    const held = proxy.hold(beginning)
    id = await api.submit(long)
    const release = await held
    if (await untilGenerating(fleet, id, 1500)) {
      await worker.kill()
      await fleet.worker()
      t.equal((await api.until(id, 'completed', 'failed')).status, 'completed')
      t.equal(generationsOf(fleet, id).length, 2)
      t.equal(fleet.simulator.state().maxInFlight, 1)
      return
    }
    release()
    await api.until(id, 'completed')
  }
})
