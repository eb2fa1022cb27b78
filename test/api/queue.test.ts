import t from 'tap'
import { quick, startService, type JsonBody } from '../helper.ts'
import { keyHeaders } from './access-key.ts'

const service = await startService(t)
const { request, submit, until } = service
const setQueues = async (enabled: boolean) => await request('PUT', '/api/v1/settings/queue-processing', { enabled })
const queue = async (query = '', headers = {}) => (await request('GET', `/api/v2/queue${query}`, undefined, headers)).body
const failures = async (query = '', headers = {}) => (await request('GET', `/api/v2/failures${query}`, undefined, headers)).body
const act = async (body: object, headers = {}) => await request('POST', '/api/v2/jobs/actions', body, headers)
const idsOf = (jobs: unknown) => (jobs as JsonBody[]).map(({ id }) => id)

/** Runs something while nothing starts, and cancels what then still waits. */
async function whilePaused (work: () => Promise<void>): Promise<void> {
  await setQueues(false)
  try {
    await work()
  } finally {
    await act({ action: 'cancel', filter: { status: 'pending' } })
    await setQueues(true)
  }
}

t.test('the queue shows the waiting jobs of all servers in the order in which they run', async t => {
  const key = await keyHeaders(service, { name: 'Ada' })
  await request('POST', '/api/v1/servers', { alias: 'Other', apiUrl: 'http://127.0.0.1:9' })
  await whilePaused(async () => {
    const one = await submit({ ...quick, prompt: 'one', checkpoint_name: 'anime-pastel' })
    const two = await submit({ ...quick, prompt: 'two' }, { target_server_alias: 'Other', app_type: 'ui', source_info: 'web ui' })
    const accepted = await request('POST', '/api/v2/generate', { target_server_alias: 'default', generation_params: quick }, key.headers)
    const theirs = String(accepted.body.job_id)
    const bot = String((await request('POST', '/generate/txt2img', { user_id: 'ann', ...quick })).body.job_id)
    await request('POST', `/api/v2/jobs/${two}/run-now`)

    const all = await queue()
    t.match(all, { enabled: false, running: [], total_running: 0, total_waiting: 4, groups: [] })
    t.strictSame(new Set(idsOf(all.waiting)), new Set([one, two, theirs, bot]))
    const line = idsOf((await request('GET', '/api/v2/jobs?status=pending&order=line')).body.jobs)
    t.strictSame(idsOf(all.waiting), line, 'as the list of jobs has them')
    const rows = new Map((all.waiting as JsonBody[]).map(row => [row.id, row]))
    t.match(rows.get(one), {
      status: 'pending',
      channel: 'api',
      api_key_id: null,
      checkpoint: /anime-pastel/,
      checkpoint_used: null,
      group: null,
      position: Number,
      waiting_for: String
    })
    t.match(rows.get(two), { channel: 'ui', alias: 'Other' })
    t.match(rows.get(theirs), { api_key_id: key.id, checkpoint: null })
    t.match(rows.get(bot), { channel: 'bot', user_id: 'ann' })

    t.match(await queue('?limit=1&offset=1'), { total_waiting: 4, waiting: [{ id: line[1] }], next_cursor: '2' })
    t.match(await queue('?limit=2&cursor=2'), { waiting: [{ id: line[2] }, { id: line[3] }], next_cursor: null })
    t.match(await queue('?server=Other'), { total_waiting: 1, waiting: [{ id: two }] })
    t.strictSame(idsOf((await queue('', key.headers)).waiting), [theirs])
    t.match(await queue('', key.headers), { total_waiting: 1, total_running: 0 })
    t.equal((await request('GET', '/api/v2/queue?limit=0')).status, 400)
    t.equal((await request('GET', '/api/v2/queue?statuss=pending')).status, 400)
    t.equal((await request('GET', '/api/v2/queue?key=nobody', undefined, key.headers)).status, 403)
  })
  await request('DELETE', '/api/v1/servers/Other?jobs=cancel')
})

t.test('each waiting job has a place of its own in the order of all servers, by expected begin', async t => {
  const aliases = ['Left', 'Right']
  for (const alias of aliases) await request('POST', '/api/v1/servers', { alias, apiUrl: 'http://127.0.0.1:9' })
  await until(await submit(quick), 'completed')
  const running = await submit({ ...quick, steps: 150, num_images: 8 })
  await until(running, 'processing')
  const pinned = []
  for (const alias of [...aliases, ...aliases]) pinned.push(await submit(quick, { target_server_alias: alias }))
  const soon = [await submit(quick), await submit(quick)]
  const rows = (await queue()).waiting as JsonBody[]
  t.strictSame(rows.map(({ place }) => place), [1, 2, 3, 4, 5, 6])
  t.strictSame(idsOf(rows).slice(0, 2), soon, 'jobs that no server can run now come last')
  const known = rows.map(({ starts_at: at }) => at).filter(at => at !== null)
  t.strictSame(known, known.toSorted())
  const right = (await queue('?server=Right')).waiting as JsonBody[]
  t.strictSame(idsOf(right), [pinned[1], pinned[3]])
  t.strictSame(right.map(({ place }) => place), rows.filter(({ alias }) => alias === 'Right').map(({ place }) => place))
  const page = (await queue('?limit=2&offset=3')).waiting as JsonBody[]
  t.strictSame(page.map(({ place }) => place), [4, 5])
  await act({ action: 'cancel', all: true })
  for (const alias of aliases) await request('DELETE', `/api/v1/servers/${alias}?jobs=cancel`)
})

t.test('a running job is in the queue, and a finished one says which checkpoint made it', async t => {
  const id = await submit({ ...quick, steps: 150 })
  await until(id, 'processing', 'completed')
  const { running } = await queue()
  // A busy machine can miss it.
  if ((await service.job(id)).status === 'processing') t.match(running, [{ id, status: 'processing', position: null }])
  const { job } = (await request('GET', `/api/v2/jobs/${(await until(id, 'completed')).id}`)).body
  t.match(job, { channel: 'api', checkpoint_used: /dreamscape/, user_id: null })
  const { jobs } = (await request('GET', '/api/v2/jobs?view=short&limit=1')).body
  t.match(jobs, [{ id, checkpoint: null, checkpoint_used: /dreamscape/, group: null }])
})

t.test('jobs of a bulk and of a sweep are groups, which are counted and acted on as one', async t => {
  const key = await keyHeaders(service)
  await whilePaused(async () => {
    const bulk = String((await request('POST', '/api/v2/generate/bulk', {
      target_server_alias: 'default', bulk_quantity: 3, generation_params: quick
    })).body.bulk_job_id)
    const sweep = [await submit(quick, { group: 'cfg-sweep' }), await submit(quick, { group: 'cfg-sweep' })]
    const accepted = await request('POST', '/api/v2/generate', {
      target_server_alias: 'default', generation_params: quick, group: 'cfg-sweep'
    }, key.headers)
    t.equal(accepted.status, 202)
    const group = String(((await request('GET', `/api/v2/jobs/${sweep[0]}`)).body.job as JsonBody).bulk_job_id)
    await request('POST', `/api/v2/jobs/${sweep[0]}/cancel`)

    const groups = new Map(((await queue()).groups as JsonBody[]).map(one => [one.id, one]))
    t.equal(groups.size, 3)
    t.match(groups.get(bulk), { total: 3, pending: 3, completed: 0 })
    t.match(groups.get(group), { total: 2, pending: 1, cancelled: 1 }, 'another key\'s group of this name is another one')
    t.equal(((await queue('', key.headers)).groups as JsonBody[]).length, 1)
    const asked = `/api/v2/groups?${new URLSearchParams([['id', bulk], ['id', group], ['id', 'none']])}`
    t.match((await request('GET', asked)).body, { groups: [{ id: bulk, total: 3, pending: 3 }, { id: group, total: 2, cancelled: 1 }] })
    t.match((await request('GET', `/api/v2/groups?id=${group}`)).body, { groups: [{ id: group }] }, 'one alone')
    t.strictSame((await request('GET', asked, undefined, key.headers)).body.groups, [], 'those of others are invisible')
    t.equal((await request('GET', '/api/v2/groups')).status, 400)

    t.match((await request('GET', `/api/v2/jobs?group=${group}`)).body, { total: 2, count: 2 })
    t.match((await request('GET', `/api/v2/jobs?group=${group}&status=pending&view=short`)).body, {
      total: 1, jobs: [{ id: sweep[1], group }]
    })
    t.match((await request('GET', `/api/v2/jobs?group=${group}&search=lighthouse&limit=1&order=asc`)).body, { total: 2, count: 1, jobs: [{ id: sweep[0] }] })
    t.match((await request('GET', `/api/v2/jobs?group=${group}`, undefined, key.headers)).body, { total: 0 })
    const first = (await request('GET', `/api/v2/jobs?group=${group}&limit=1`)).body
    t.match((await request('GET', `/api/v2/jobs?group=${group}&cursor=${String(first.next_cursor)}`)).body, {
      total: 2, jobs: [{ id: sweep[0] }], next_cursor: null
    }, 'pages follow each other by cursor')

    t.match((await act({ action: 'retry', filter: { group, status: 'cancelled' } })).body, { count: 1, done: 1 })
    t.match((await act({ action: 'cancel', filter: { group: bulk }, expected: 2 })).body, { error: 'more_than_expected' })
    t.match((await act({ action: 'cancel', filter: { group: bulk }, expected: 3 }, key.headers)).body, { count: 0, done: 0 })
    t.match((await act({ action: 'cancel', filter: { group: bulk }, expected: 3 })).body, { count: 3, done: 3 })
    t.match((await request('GET', `/api/v2/generate/bulk/${bulk}`)).body, { cancelled_jobs: 3 })
    t.equal((await request('POST', '/api/v2/generate', {
      target_server_alias: 'default', generation_params: quick, group: 'a b'
    })).status, 400)
  })
})

t.test('failed jobs are counted by cause, and exactly those of one cause can be retried', async t => {
  const key = await keyHeaders(service)
  service.simulator.setFaults([{ kind: 'nan', prompt: 'dark', sticky: true }, { kind: 'runtime-error', prompt: 'odd', sticky: true }])
  const dark = [await submit({ ...quick, prompt: 'dark' }), await submit({ ...quick, prompt: 'dark' })]
  const odd = await submit({ ...quick, prompt: 'odd' })
  for (const id of [...dark, odd]) await until(id, 'failed')
  const shown = await failures()
  const [most, other] = shown.causes as JsonBody[]
  t.match(shown, { total: 3 })
  t.match(most, { code: 'nan', count: 2, message: String, filter: { status: 'failed', error: 'nan' } })
  t.ok(dark.includes(String(most?.job_id)))
  t.match(other, { count: 1, job_id: odd })
  t.match(await failures('', key.headers), { total: 0, causes: [] }, 'a key counts its own')
  t.match(await failures('?since=2090-01-01T00:00:00Z'), { total: 0 })

  t.strictSame(new Set(idsOf((await request('GET', '/api/v2/jobs?error=nan')).body.jobs)), new Set(dark))
  t.match((await request('GET', '/api/v2/jobs?error=nan&status=completed')).body, { total: 0 })
  service.simulator.reset()
  const retried = await act({ action: 'retry', filter: most?.filter, expected: most?.count, created_before: shown.as_of })
  t.match(retried.body, { count: 2, done: 2 })
  for (const id of dark) await until(id, 'completed')
  t.match(await failures(), { total: 1, causes: [{ job_id: odd }] })
})

t.end()
