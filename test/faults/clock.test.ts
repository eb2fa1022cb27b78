import t from 'tap'
import { quick } from '../helper.ts'
import { checkInvariants } from './invariants.ts'
import { startFleet } from './processes.ts'

const hour = 3_600_000

t.test('changes of the system clock', async t => {
  const fleet = await startFleet(t)
  const [api, worker] = await Promise.all([fleet.api(), fleet.worker({ RETRY_BACKOFF_SECONDS: '1' })])
  const accepted: string[] = []
  async function submit (job: Readonly<Record<string, unknown>>): Promise<string> {
    const id = await api.submit(job)
    accepted.push(id)
    return id
  }

  await t.test('an hour back keeps no job waiting longer than its pause', async t => {
    fleet.simulator.setFaults([{ kind: 'exception-group' }])
    const id = await submit({ ...quick, prompt: 'again after a second' })
    while (await fleet.look.zcard(fleet.keys.key('resting')) === 0) await new Promise(resolve => { setTimeout(resolve, 5) })
    await Promise.all([worker, api].map(async process => { await process.setClock(-hour) }))
    await api.until(id, 'completed')
    t.match(await api.job(id), { status: 'completed', attempts: [{ code: 'server_error' }] })
    await checkInvariants(t, accepted, fleet)
  })

  await t.test('an hour forward ends no running generation', async t => {
    fleet.simulator.setFaults([{ kind: 'slow', factor: 20 }])
    const id = await submit({ ...quick, prompt: 'goes on' })
    await api.until(id, 'processing')
    await Promise.all([worker, api].map(async process => { await process.setClock(hour) }))
    const { body } = await api.request('GET', `/api/v2/jobs/${id}?wait=60`)
    t.match(body, { job: { status: 'completed' } })
    t.equal(fleet.simulator.state().generations.filter(({ taskId }) => taskId === id).length, 1)
    await checkInvariants(t, accepted, fleet)
  })

  await t.test('a wait ends in time with any clock', async t => {
    fleet.simulator.setFaults([{ kind: 'slow', factor: 100 }])
    const id = await submit({ ...quick, prompt: 'is waited for' })
    await api.until(id, 'processing')
    const answer = api.request('GET', `/api/v2/jobs/${id}?wait=1`)
    await api.setClock(-hour)
    t.match((await answer).body, { job: { status: 'processing' } })
    await api.request('POST', `/api/v2/jobs/${id}/cancel`)
    await api.until(id, 'cancelled')
  })
})
