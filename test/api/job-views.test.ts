import t from 'tap'
import { createJobViews } from '../../plugins/api/job-views.ts'
import type { Outlook } from '../../src/jobs/estimates.ts'
import { parseJob } from '../../src/jobs/job.ts'
import type { JobStatus } from '../../schemas/job.ts'
import { quick, startService, type JsonBody } from '../helper.ts'

const submission = JSON.stringify({ mode: 'txt2img', appType: 'forge', source: 'test', parameters: { steps: 20, width: 512, height: 512 } })
const jobs = (['pending', 'processing', 'completed'] as const).map((status: JobStatus) => {
  const job = parseJob(status, { status, submission, prompt: 'a cat', priority: '5', run: '1', created: '1', updated: '1' })
  if (job === null) throw new Error('the record is incomplete')
  return job
})
const ids = jobs.map(({ id }) => id)

t.test('a list reads a waiting or finished job once for each change, and says what is expected of it now', async t => {
  let read: string[] = []
  let position = 7
  let stamp = 'first'
  const expected = (): Outlook => ({ position, estimate: { startsIn: 1, endsIn: position, endsInP90: 20 }, waitingFor: `${position - 1} jobs` })
  const none: Outlook = { position: null, estimate: null, waitingFor: null }
  const views = createJobViews({
    registry: { byId: () => undefined, list: () => [] },
    estimates: { of: async of => of.map(({ status }) => status === 'completed' ? none : expected()) },
    store: {
      async readMany (asked) {
        read = [...asked]
        return jobs.filter(({ id }) => asked.includes(id))
      }
    },
    list: { stamps: async () => jobs.map(({ id, status, serverId }) => ({ id, status, serverId, stamp })) }
  })
  const listed = async (view: 'full' | 'short') =>
    (await views.texts(ids, view, '/base')).map(text => JSON.parse(String(text)) as JsonBody)
  /** Without the times that go on. */
  const timeless = (list: readonly object[]) => list.map(one =>
    ({ ...one, estimated_start_time: null, estimated_completion_time: null, starts_at: null }))

  for (const view of ['full', 'short'] as const) {
    for (const [next, reads] of [[7, ids], [7, ['processing']], [3, ['processing']]] as const) {
      position = next
      const found = await listed(view)
      t.same(read, reads, `${view} at ${next}`)
      const rendered = view === 'full' ? await views.many(jobs, '/base') : await views.short(jobs, '/base')
      t.same(timeless(found), JSON.parse(JSON.stringify(timeless(rendered))), 'as rendered whole')
    }
    stamp = `${stamp} and changed`
    await listed(view)
    t.same(read, ids, 'records that changed are read again')
  }
})

t.test('a list shows each change of a waiting job at once', async t => {
  const service = await startService(t, { worker: 'none' })
  const submit = async () => String((await service.request('POST', '/api/v2/generate', { generation_params: quick })).body.id)
  const [first, second] = [await submit(), await submit()]
  const waiting = async () => {
    const { body } = await service.request('GET', '/api/v2/jobs?order=asc')
    return (body.jobs as JsonBody[]).map(({ id, status, priority, queue_position: position }) =>
      ({ id, status, priority, position }))
  }
  const before = [first, second].map((id, index) => ({ id, status: 'pending', priority: 5, position: index + 1 }))
  t.same(await waiting(), before)
  t.same(await waiting(), before)

  const { redis, keys } = service.services
  await redis.hset(keys.key('job', second), 'priority', 9)
  t.match(await waiting(), [{ priority: 5 }, { priority: 9 }], 'a process of an earlier version raises no counter')

  await service.request('POST', `/api/v2/jobs/${first}/cancel`)
  t.match(await waiting(),
    [{ id: first, status: 'cancelled', position: null }, { id: second, status: 'pending', position: 1 }])
})
