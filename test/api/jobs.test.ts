import t from 'tap'
import { quick, startService, type JsonBody } from '../helper.ts'
import { keyHeaders } from './access-key.ts'

const idle = await startService(t, { worker: 'none' })
const second = await idle.request('POST', '/api/v1/servers', { alias: 'Second', apiUrl: 'http://127.0.0.1:9' })
t.equal(second.status, 201)

const submit = async (prompt: string, more: object = {}, headers = {}) => {
  const body = { target_server_alias: 'Main', generation_params: { ...quick, prompt }, ...more }
  const answer = await idle.request('POST', '/api/v2/generate', body, headers)
  if (answer.status !== 202) throw new Error(JSON.stringify(answer.body))
  return String(answer.body.id)
}
const list = async (query: string, headers = {}) => {
  const { status, body } = await idle.request('GET', `/api/v2/jobs?${query}`, undefined, headers)
  if (status !== 200) throw new Error(JSON.stringify(body))
  const jobs = body.jobs as JsonBody[]
  const ids = jobs.map(({ id }) => String(id))
  return { ...body, ids, next: body.next_cursor as string | null, total: Number(body.total) }
}

t.test('pages by cursor stay right while jobs arrive', async t => {
  const early: string[] = []
  for (let count = 0; count < 11; count++) early.push(await submit(`early ${count}`))
  const seen: string[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const page: Awaited<ReturnType<typeof list>> = await list(`limit=4${cursor === '' ? '' : `&cursor=${cursor}`}`)
    seen.push(...page.ids)
    cursor = page.next
    await submit('late')
  }
  t.same(seen, early.toReversed(), 'each of them once, newest first, and none of the late ones')

  const oldestFirst = await list('order=asc&limit=5&offset=3')
  t.same(oldestFirst.ids, early.slice(3, 8))
  t.equal((await list('limit=1000')).ids.length, 14)
  t.match(await list('order=ASC&limit=2'), { filters: { order: 'ASC', limit: 2 }, count: 2, total: 14 })
})

t.test('filters: status, server, key, since, text and application', async t => {
  const { id: keyId, headers } = await keyHeaders(idle)
  const cancelled = await submit('Ünicode "quoted" 100% [x]', { app_type: 'comfyui' })
  await idle.request('POST', `/api/v2/jobs/${cancelled}/cancel`)
  const elsewhere = await submit('at the second', { target_server_alias: 'second' })
  const owned = await submit('owned', {}, headers)

  t.same((await list('status=cancelled')).ids, [cancelled])
  t.same((await list('server=SECOND')).ids, [elsewhere])
  t.same((await list(`key=${keyId}`)).ids, [owned])
  t.same((await list('app_type=comfyui')).ids, [cancelled])
  t.same((await list(`search=${encodeURIComponent('"QUOTED" 100% [')}`)).ids, [cancelled])
  t.same((await list(`search=${encodeURIComponent('Ünicode')}`)).ids, [cancelled])
  t.same((await list('search=nowhere')).ids, [])
  const since = String((await idle.job(elsewhere)).creation_timestamp)
  const recent = await list(`since=${since}`)
  t.same(recent.ids, [owned, elsewhere])
  t.equal(recent.total, 2)
  t.same((await list(`since=${since}&status=pending&server=Main`)).ids, [owned])

  const wrong: Array<[query: string, status: number, field: string]> = [
    ['status=done', 400, 'status'], ['limit=x', 400, 'limit'], ['limit=0', 400, 'limit'], ['offset=-1', 400, 'offset'],
    ['cursor=abc', 400, 'cursor'], ['since=yesterday', 400, 'since'], ['since=1998-12-31T23:59:60Z', 400, 'since'],
    ['order=up', 400, 'order'], ['view=brief', 400, 'view'], ['view=', 400, 'view'], ['server=Thrid', 404, 'server']
  ]
  for (const [query, status, field] of wrong) {
    t.match(await idle.request('GET', `/api/v1/queue/jobs?${query}`), { status, body: { details: { field } } }, query)
  }
})

t.test('a list with view=short has what a list shows of each job, in every state', async t => {
  const service = await startService(t)
  const done = await service.submit({ ...quick, prompt: `first ${'\u{1f300}'.repeat(300)}`, width: 64, height: 128, steps: 3 })
  const whole = await service.until(done, 'completed')
  await service.request('POST', '/api/v1/servers/Main/pause', {})
  const waiting = await service.submit({ ...quick, prompt: 'second' })
  const gone = await service.submit({ ...quick, prompt: 'third' })
  await service.request('POST', `/api/v2/jobs/${gone}/cancel`)
  for (const path of ['/api/v1/jobs', '/api/v1/queue/jobs', '/api/v2/jobs', '/api/v2/queue/jobs']) {
    const { body } = await service.request('GET', `${path}?view=short&order=asc`)
    const [first = {}, second = {}, third = {}] = body.jobs as JsonBody[]
    t.match(first, {
      id: done,
      status: 'completed',
      alias: 'Main',
      created_at: whole.creation_timestamp,
      started_at: whole.started_timestamp,
      finished_at: whole.completion_timestamp,
      size: '64x128',
      steps: 3,
      images: whole.images.map(({ filename, url }) => ({ filename, url, thumbnail_url: `/outputs/thumbs/${filename}` })),
      error: null,
      position: null,
      eta: null
    })
    t.equal(first.prompt, `first ${'\u{1f300}'.repeat(247)}`, 'the beginning of a long prompt, in whole characters')
    t.match(second, { id: waiting, status: 'pending', prompt: 'second', position: 1, started_at: null, finished_at: null, images: [] })
    t.match(third, { id: gone, status: 'cancelled', started_at: null, finished_at: /^\d{4}-.*Z$/, position: null })
    t.equal(Object.hasOwn(first, 'generation_params'), false)
    t.ok(JSON.stringify(second).length < 1200)
  }
  t.match(await service.request('GET', '/api/v2/jobs?view=brief'),
    { status: 400, body: { message: /view must be .*full.*short/, details: { field: 'view' } } })
  t.match((await service.request('GET', '/api/v2/jobs?view=full&limit=1')).body, { jobs: [{ job_id: gone }] })
})

t.test('a list never shows an outdated job', async t => {
  const service = await startService(t)
  const done = [await service.submit({ ...quick, batch_size: 2 }), await service.submit({ ...quick, prompt: 'kept' })]
  for (const id of done) await service.until(id, 'completed')
  await service.request('POST', '/api/v1/servers/Main/pause', {})
  const gone = await service.submit({ ...quick, prompt: 'cancelled' })
  await service.request('POST', `/api/v2/jobs/${gone}/cancel`)
  const ids = [gone, ...done.toReversed()]

  /** Both lists, read twice, against each job by itself, which is rendered again. */
  async function agrees (what: string, expected: readonly string[]) {
    for (let time = 0; time < 2; time++) {
      const { body: full } = await service.request('GET', '/api/v2/jobs')
      const { body: short } = await service.request('GET', '/api/v2/jobs?view=short')
      t.same((full.jobs as JsonBody[]).map(({ id }) => id), expected, what)
      for (const [index, job] of (full.jobs as JsonBody[]).entries()) {
        const { body } = await service.request('GET', `/api/v1/jobs/${String(job.id)}`)
        const { queue_position: _, waiting_for: __, ...own } = body
        t.match(job, own, `${what}: ${String(job.id)}`)
        t.match((short.jobs as JsonBody[])[index], {
          id: job.id,
          status: body.status,
          alias: body.target_server_alias,
          finished_at: body.completion_timestamp,
          prompt: (body.generation_params as JsonBody).prompt
        }, what)
        t.equal(((short.jobs as JsonBody[])[index]?.images as unknown[]).length, (job.images as unknown[]).length)
      }
    }
  }

  await agrees('at first', ids)
  const [image] = (await service.job(done[0] ?? '')).images
  t.equal((await service.request('DELETE', `/api/v1/gallery/images/${image?.filename ?? ''}`)).status, 200)
  t.equal((await service.job(done[0] ?? '')).images.length, 1)
  await agrees('after an image was deleted', ids)
  t.equal((await service.request('PUT', '/api/v1/servers/Main', { alias: 'Renamed' })).status, 200)
  t.equal((await service.job(done[0] ?? '')).target_server_alias, 'Renamed')
  await agrees('after the server got another name', ids)
  t.equal((await service.request('POST', `/api/v2/jobs/${gone}/retry`)).status, 200)
  await agrees('after a retry', ids)
  await service.request('POST', `/api/v2/jobs/${gone}/cancel`)
  await agrees('after it was cancelled again', ids)
  t.equal((await service.request('DELETE', `/api/v2/jobs/${done[1] ?? ''}`)).status, 200)
  await agrees('after a job was deleted', [gone, done[0] ?? ''])
  await service.app.retention.purge({ days: 0, jobs: 1, dropInDays: 0 })
  await agrees('after the retention', [gone])
  t.equal((await service.request('DELETE', '/api/v1/servers/Renamed')).status, 200)
  t.equal((await service.job(gone)).target_server_alias, 'default', 'no server has had it')
  await agrees('after the server was removed', [gone])
})

t.test('pages of any offset are the same as pages by cursor, with every bound', async t => {
  const { headers, id: key } = await keyHeaders(idle)
  const ids: string[] = []
  for (let count = 0; count < 9; count++) ids.push(await submit(`ranked ${count}`, {}, headers))
  const momentOf = async (id: string) => String((await idle.job(id)).creation_timestamp)
  const [since, before] = [await momentOf(ids[2] ?? ''), await momentOf(ids[7] ?? '')]
  const created = new Map(await Promise.all(ids.map(async id => [id, await momentOf(id)] as const)))
  for (const bounds of [{}, { since }, { before }, { since, before }]) {
    for (const order of ['asc', 'desc']) {
      const inside = ids.filter(id => {
        const timestamp = created.get(id) ?? ''
        return timestamp >= (bounds.since ?? '') && (bounds.before === undefined || timestamp < bounds.before)
      })
      const expected = order === 'asc' ? inside : inside.toReversed()
      const query = String(new URLSearchParams({ key, order, ...bounds }))
      for (let offset = 0; offset <= 10; offset++) {
        const page = await list(`${query}&limit=3&offset=${offset}`)
        t.same(page.ids, expected.slice(offset, offset + 3), `${query} at ${offset}`)
        t.equal(page.total, expected.length)
        if (page.next !== null) {
          t.same((await list(`${query}&limit=2&cursor=${page.next}`)).ids, expected.slice(offset + 3, offset + 5))
        } else t.ok(offset + 3 >= expected.length)
      }
    }
  }
})

t.test('a key sees only its own jobs, unless it has the right to see all', async t => {
  const mine = await keyHeaders(idle)
  const other = await keyHeaders(idle)
  const watcher = await keyHeaders(idle, { scopes: ['jobs:read', 'jobs:read:all', 'jobs:write'] })
  const id = await submit('private', {}, mine.headers)
  const bulk = await idle.request('POST', '/api/v2/generate/bulk',
    { target_server_alias: 'Main', generation_params: quick, bulk_quantity: 2 }, mine.headers)
  const bulkId = String(bulk.body.bulk_job_id)

  t.same((await list('limit=100', mine.headers)).ids.length, 3)
  t.same((await list('limit=100', other.headers)).ids, [])
  t.match(await idle.request('GET', `/api/v2/jobs?key=${mine.id}`, undefined, other.headers), {
    status: 403, body: { error: 'permission_denied', details: { field: 'key' } }
  })
  t.equal((await list(`key=${mine.id}`, mine.headers)).ids.length, 3)
  t.equal((await list(`key=${mine.id}`, watcher.headers)).ids.length, 3)

  // Every route with the id of a job or a bulk, from the service's own documentation.
  const { paths = {} } = idle.app.swagger()
  let tried = 0
  for (const [path, item] of Object.entries(paths)) {
    if (!/\{(jobId|bulkId)\}/.test(path)) continue
    for (const method of Object.keys(item ?? {})) {
      const url = path.replace('{jobId}', id).replace('{bulkId}', bulkId)
      const change = method === 'patch' ? { priority: 6 } : undefined
      const answer = await idle.request(method.toUpperCase(), url, change, other.headers)
      t.match(answer, { status: 404, body: { success: false, error: /^(job|bulk)_not_found$/ } }, `${method} ${path}`)
      const invented = await idle.request(method.toUpperCase(),
        path.replace(/\{\w+\}/, '00000000-0000-4000-8000-000000000000'), change, other.headers)
      t.equal(JSON.stringify(invented.body.error), JSON.stringify(answer.body.error), 'as if it were not there')
      tried++
    }
  }
  t.ok(tried >= 30, `${tried} routes were tried`)
  t.equal((await idle.job(id)).status, 'pending', 'nothing happened to it')

  t.equal((await idle.request('GET', `/api/v2/jobs/${id}`, undefined, watcher.headers)).status, 200)
  t.equal((await idle.request('POST', `/api/v2/jobs/${id}/cancel`, undefined, watcher.headers)).status, 404, 'seeing is not cancelling')
  t.equal((await idle.request('POST', `/api/v2/jobs/${id}/cancel`, undefined, mine.headers)).status, 200)
})

t.test('cancel, retry, run-now and delete, and the states that they reject', async t => {
  const ids = [await submit('one'), await submit('two'), await submit('three')]
  const [one = '', two = '', three = ''] = ids
  const act = async (id: string, action: string, base = '/api/v2/jobs') => await idle.request('POST', `${base}/${id}/${action}`)
  t.match(await act(three, 'run-now'), { status: 200, body: { job: { queue_position: 1 } } })
  t.match(await act(two, 'dispatch', '/api/v1/queue/jobs'), { status: 200, body: { job: { status: 'pending' } } })
  t.match(await act(one, 'retry'), { status: 400, body: { error: 'job_operation_invalid', details: { current_status: 'pending' } } })
  t.match(await act(one, 'cancel'), { status: 200, body: { success: true, message: String, job: { status: 'cancelled', queue_position: null } } })
  t.match(await act(one, 'cancel'), { status: 400, body: { error: 'job_operation_invalid', details: { current_status: 'cancelled' } } })
  t.match(await act(one, 'run-now'), { status: 400, body: { error: 'job_operation_invalid' } })
  t.match(await act(one, 'retry', '/api/v2/queue/jobs'), { status: 200, body: { job: { status: 'pending', completion_timestamp: null } } })
  for (const [index, base] of ['/api/v1/jobs', '/api/v1/queue/jobs', '/api/v2/jobs'].entries()) {
    const path = `${base}/${ids[index] ?? ''}`
    t.match(await idle.request('DELETE', path), { status: 200, body: { success: true, message: String } }, 'a waiting one goes too')
    t.match(await idle.request('GET', path), { status: 404, body: { error: 'job_not_found', details: { job_id: ids[index] as string } } })
    t.equal((await idle.request('DELETE', path)).status, 404)
  }
})

t.test('a running job must be cancelled before it is deleted, which deletes its files too', async t => {
  const service = await startService(t, { simulator: { stepMilliseconds: 40 } })
  const id = await service.submit({ ...quick, steps: 60 })
  await service.until(id, 'processing')
  t.match(await service.request('DELETE', `/api/v1/jobs/${id}`), { status: 400, body: { error: 'job_operation_invalid' } })
  await service.request('POST', `/api/v1/jobs/${id}/cancel`)
  const job = await service.until(id, 'cancelled')
  t.equal((await service.request('DELETE', `/api/v1/jobs/${id}`)).status, 200)
  for (const { url } of job.images) t.equal((await fetch(service.url + url)).status, 404)

  const done = await service.until(await service.submit(quick), 'completed')
  const [image] = done.images
  t.equal((await fetch(service.url + (image?.url ?? ''))).status, 200)
  t.equal((await service.request('DELETE', `/api/v2/jobs/${done.id}`)).status, 200)
  t.equal((await fetch(service.url + (image?.url ?? ''))).status, 404)
})

t.test('a waiting job changes its priority and its position, and the queue follows', async t => {
  const service = await startService(t, { settings: { QUEUE_LIMIT_PER_KEY: '100' } })
  const { request } = service
  await request('POST', '/api/v1/servers/Main/pause')
  const ids: Record<string, string> = {}
  for (const name of ['one', 'two', 'three', 'four', 'five']) ids[name] = await service.submit({ ...quick, prompt: name })
  const waitingJobs = async () => {
    const { body } = await request('GET', '/api/v2/jobs?status=pending&server=Main&order=line')
    return (body.jobs as Array<{ generation_params: { prompt: string } }>).map(job => job.generation_params.prompt)
  }
  const change = async (name: string, body: object) => await request('PATCH', `/api/v2/jobs/${ids[name]}`, body)

  t.match(await change('four', { before: ids.two }), { status: 200, body: { job: { queue_position: 2 } } })
  t.strictSame(await waitingJobs(), ['one', 'four', 'two', 'three', 'five'])
  t.match(await change('three', { priority: 9 }), { status: 200, body: { job: { queue_position: 1, priority: 9 } } })
  await request('POST', `/api/v2/jobs/${ids.five}/run-now`)
  t.match(await request('POST', `/api/v2/jobs/${ids.two}/run-now`), { body: { job: { queue_position: 1 } } },
    'the job moved last is the first in the queue')
  t.strictSame(await waitingJobs(), ['two', 'five', 'three', 'one', 'four'])
  t.match(await change('one', { before: ids.five }), { body: { job: { queue_position: 2 } } })
  t.match(await change('two', { priority: 1 }), { body: { job: { queue_position: 5 } } })
  const expected = ['one', 'five', 'three', 'four', 'two']
  t.strictSame(await waitingJobs(), expected)
  const page = await request('GET', '/api/v2/jobs?status=pending&server=Main&order=line&limit=2&offset=1')
  t.match(page.body, { total: 5, count: 2, jobs: [{ id: ids.five }, { id: ids.three }] })

  for (const [body, field] of [
    [{ before: ids.one }, 'before'], [{ before: 'nobody' }, undefined], [{ priority: 11 }, 'priority'], [{ server: 'x' }, 'server']
  ] as const) {
    const { status, body: { details } } = await change('one', body)
    t.ok(status === 400 || status === 404, JSON.stringify(body))
    if (field !== undefined) t.match(details, { field })
  }
  t.match(await request('GET', '/api/v2/jobs?order=line'), { status: 400, body: { details: { field: 'order' } } })

  await request('POST', '/api/v1/servers/Main/resume')
  const done = await Promise.all(expected.map(async name => await service.until(ids[name] ?? '', 'completed')))
  const started = done.map(job => Date.parse(String(job.started_timestamp)))
  t.strictSame(started, started.toSorted((a, b) => a - b), 'they ran in the order of the line')
  t.match(await change('one', { priority: 5 }), { status: 400, body: { error: 'job_operation_invalid' } })
})

t.test('many jobs are cancelled, retried, moved to the front and deleted with one request', async t => {
  const many = await startService(t, { worker: 'none' })
  const act = async (body: object, headers = {}) => await many.request('POST', '/api/v2/jobs/actions', body, headers)
  const ids: string[] = []
  for (let index = 0; index < 6; index++) {
    ids.push(await many.submit({ ...quick, prompt: index < 4 ? 'a boat' : 'a house' }, { target_server_alias: 'Main' }))
  }
  t.match(await act({ action: 'cancel', ids: [...ids.slice(0, 2), ids[0], 'nobody'] }), {
    status: 200, body: { done: 2, refused_count: 1, refused: [{ id: 'nobody', code: 'job_not_found' }] }
  })
  t.match((await act({ action: 'cancel', ids: ids.slice(0, 1) })).body, { done: 0, ids: [], refused: [{ code: 'job_operation_invalid' }] })
  t.match((await act({ action: 'retry', filter: { status: 'cancelled' }, dry_run: true })).body, { done: 0, ids: [] })
  const { body: retried } = await act({ action: 'retry', filter: { status: 'cancelled' } })
  t.equal(retried.done, 2)
  t.strictSame(new Set(retried.ids as string[]), new Set(ids.slice(0, 2)), 'it says which')
  await act({ action: 'run-now', ids: [ids[4], ids[5]] })
  const { body } = await many.request('GET', '/api/v2/jobs?status=pending&server=Main&order=line&limit=2')
  t.match(body.jobs, [{ id: ids[4] }, { id: ids[5] }], 'they keep their order')
  t.match((await act({ action: 'delete', filter: { search: 'BOAT', server: 'main' } })).body, { done: 4, refused_count: 0 })
  t.equal((await many.request('GET', '/api/v2/jobs')).body.total, 2)

  t.equal((await many.request('POST', '/api/v1/servers', { alias: 'Other', apiUrl: 'http://127.0.0.1:9' })).status, 201)
  t.match((await act({ action: 'move', server: 'other', ids: [ids[5], ids[4], ids[0]] })).body, { done: 2, refused_count: 1 })
  t.match((await many.request('GET', '/api/v2/jobs?status=pending&server=Other&order=line')).body.jobs,
    [{ id: ids[4] }, { id: ids[5] }], 'they keep their order there, too')
  t.match((await act({ action: 'move', server: 'Main', filter: { server: 'Other' } })).body, { done: 2 })

  const { accessKey, secret } = await many.services.accessKeys.create({ name: 'own', scopes: ['jobs:write', 'jobs:read'] })
  const headers = { 'x-api-key': accessKey.key, 'x-api-secret': secret }
  t.match((await act({ action: 'cancel', all: true }, headers)).body, { count: 0, done: 0 }, 'the jobs of others are not touched')
  t.match((await act({ action: 'cancel', ids: [ids[4]] }, headers)).body, { done: 0, refused: [{ code: 'job_not_found' }] })
  for (const wrong of [
    { action: 'cancel' }, { action: 'cancel', ids, filter: {} }, { action: 'cancel', filter: {} }, { action: 'cancel', ids, all: true }, { action: 'paint', ids }, { action: 'move', ids },
    { action: 'cancel', server: 'Main', ids }
  ]) {
    t.match(await act(wrong), { status: 400, body: { details: { field: String } } })
  }
})
