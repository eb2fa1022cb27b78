import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { quick, startService } from '../helper.ts'
import { startThirdParty } from '../support/third-party.ts'
import { createRandom } from '../../src/simulator/random.ts'
import { checkInvariants } from './invariants.ts'

/** The seed of a run, to repeat one that failed. */
const seed = Number(process.env.FAULT_SEED ?? 7)

t.test('cancels at any moment affect only their own job', async t => {
  const random = createRandom(seed)
  const service = await startService(t, { simulator: { stepMilliseconds: 15 } })
  const accepted: string[] = []
  const thirdParty = startThirdParty(service.simulator.url, 'a stranger')

  const outcomes = new Map<string, number>()
  for (let round = 0; round < 25; round++) {
    const ids: string[] = []
    for (let index = 0; index < 4; index++) ids.push(await service.submit({ ...quick, steps: 10 }))
    accepted.push(...ids)
    await Promise.all(ids.map(async id => {
      await sleep(random() * 400)
      const { status } = await service.request('POST', `/api/v2/jobs/${id}/cancel`)
      t.ok(status === 200 || status === 400, `a cancel is taken or comes too late (${status})`)
    }))
    for (const id of ids) {
      const { status } = await service.until(id, 'completed', 'cancelled', 'failed')
      outcomes.set(status, (outcomes.get(status) ?? 0) + 1)
    }
  }
  await thirdParty.stop()
  t.comment(`seed ${seed}: ${JSON.stringify(Object.fromEntries(outcomes))}, ${thirdParty.generations()} foreign generations`)
  t.notOk(outcomes.has('failed'))
  const { generations } = service.simulator.state()
  t.same(generations.filter(({ prompt, interrupted }) => prompt === 'a stranger' && interrupted), [],
    'no foreign generation was interrupted')
  const jobs = await checkInvariants(t, accepted, traces(service))
  for (const id of accepted) {
    const own = generations.filter(({ taskId }) => taskId === id)
    t.ok(own.length <= 1, 'none was generated twice')
    if (jobs.get(id)?.status === 'completed') t.notOk(own[0]?.interrupted, 'what completed is complete')
  }
})

t.test('a cancel is never overwritten, and finished images stay, marked', async t => {
  const service = await startService(t, { simulator: { stepMilliseconds: 20 } })
  const accepted: string[] = []
  async function cancelled (parameters: Readonly<Record<string, unknown>>, wait: number) {
    const id = await service.submit({ ...quick, ...parameters })
    accepted.push(id)
    await service.until(id, 'processing')
    await sleep(wait)
    const { status } = await service.request('POST', `/api/v2/jobs/${id}/cancel`)
    await service.until(id, 'cancelled', 'completed')
    return { status, job: await service.services.store.get(id) }
  }

  const midway = await cancelled({ steps: 60 }, 300)
  t.match(midway.job, { status: 'cancelled', result: { partial: true, images: [{ role: 'image' }] } })

  // These delays cover the last steps, the answer, its storing and the end of the record.
  for (let wait = 140; wait < 260; wait += 10) {
    const { status, job } = await cancelled({ steps: 10 }, wait)
    t.equal(job.status, status === 200 ? 'cancelled' : 'completed', 'what was answered is what it became')
  }

  service.simulator.setFaults([{ kind: 'progress-freeze', prompt: 'frozen' }])
  const id = await service.submit({ ...quick, prompt: 'frozen', steps: 100 })
  accepted.push(id)
  await service.until(id, 'processing')
  // As by an API process whose notice got lost, while the server reports nothing new.
  await service.services.redis.hset(service.services.keys.key('job', id), 'cancel', Date.now())
  t.equal((await service.until(id, 'cancelled', 'completed')).status, 'cancelled')
  t.match(service.simulator.state().generations.at(-1), { taskId: id, interrupted: true })
  await checkInvariants(t, accepted, traces(service))
})

t.test('if tasks are indistinguishable, the cancel of a job that is being stored does not stop the next one', async t => {
  const service = await startService(t, { simulator: { stepMilliseconds: 20, internalProgress: false } })
  const first = await service.submit({ ...quick, batch_size: 4, width: 512, height: 512 })
  const second = await service.submit({ ...quick, steps: 50 })
  await service.until(second, 'processing')
  const { status } = await service.request('POST', `/api/v2/jobs/${first}/cancel`)
  t.ok(status === 200 || status === 400)
  t.equal((await service.until(second, 'completed', 'failed')).status, 'completed')
  t.match(service.simulator.state().generations, [{ taskId: first }, { taskId: second, interrupted: false }])
  await checkInvariants(t, [first, second], traces(service))
})

t.test('if tasks are indistinguishable, a cancel stops our generation, and no other client\'s before or after it', async t => {
  const service = await startService(t, { simulator: { stepMilliseconds: 20, internalProgress: false } })
  const { simulator } = service
  const cancelled = async (id: string) => {
    t.equal((await service.request('POST', `/api/v2/jobs/${id}/cancel`)).status, 200)
    t.equal((await service.until(id, 'cancelled', 'completed')).status, 'cancelled')
  }
  const alone = await service.submit({ ...quick, steps: 100 })
  while (simulator.state().generations.length === 0) await sleep(5)
  await cancelled(alone)
  t.match(simulator.state().generations, [{ taskId: alone, interrupted: true }])

  const before = simulator.startBrowserJob({ steps: 20 })
  const behind = await service.submit({ ...quick, steps: 10 })
  await service.until(behind, 'processing')
  await cancelled(behind)
  t.match(simulator.state().generations.slice(1), [
    { taskId: before, interrupted: false }, { taskId: behind, interrupted: false }
  ], 'it may be anybody\'s, so it is waited for')
  await checkInvariants(t, [alone, behind], traces(service))
})

function traces ({ services, dataDirectory }: Awaited<ReturnType<typeof startService>>) {
  return { look: services.redis, keys: services.keys, dataDirectory }
}
