import t from 'tap'
import { quick, startService, type JsonBody } from '../helper.ts'
import { keyHeaders } from './access-key.ts'

const service = await startService(t, { worker: 'none', settings: { QUEUE_LIMIT_PER_KEY: '10000' } })
const { request, submit } = service
t.equal((await request('POST', '/api/v1/servers', { alias: 'Other', apiUrl: 'http://127.0.0.1:9' })).status, 201)

const act = async (body: object, headers = {}) => await request('POST', '/api/v2/jobs/actions', body, headers)
const total = async (query = '') => Number((await request('GET', `/api/v2/jobs?${query}`)).body.total)
const statusOf = async (id: string) => (await service.job(id)).status

t.test('an action accepts every filter of the list, and selects the same jobs', async t => {
  const mine = await keyHeaders(service)
  const owned = await request('POST', '/api/v2/generate',
    { target_server_alias: 'Main', generation_params: quick, app_type: 'forge' }, mine.headers)
  const ofKey = String(owned.body.id)
  const elsewhere = await submit({ ...quick, prompt: 'a boat' }, { target_server_alias: 'Other' })
  const ofApplication = await submit(quick,
    { target_server_alias: 'Main', app_type: 'comfyui', metadata: { appType: 'krita', studio: { user: 'ann' } } })
  const ofUser = String((await request('POST', '/generate/txt2img', { user_id: 'ann', ...quick, server: 'Main' })).body.job_id)
  const last = String((await service.job(ofUser)).creation_timestamp)

  const filters: Array<[filter: Record<string, string>, ids: string[]]> = [
    [{ key: mine.id }, [ofKey]],
    [{ server: 'other' }, [elsewhere]],
    [{ target_server_alias: 'Other' }, [elsewhere]],
    [{ app_type: 'comfyui' }, [ofApplication]],
    [{ app_type: 'krita' }, []],
    [{ user: 'ann' }, [ofUser]],
    [{ user: ' ann ' }, [ofUser]],
    [{ search: 'BOAT' }, [elsewhere]],
    [{ since: '2030-01-01T00:00:00Z' }, []],
    [{ since: last }, [ofUser]],
    [{ before: last }, [ofKey, elsewhere, ofApplication]],
    [{ status: 'failed' }, []],
    [{ status: 'pending', server: 'Main', before: last, app_type: 'comfyui' }, [ofApplication]]
  ]
  for (const [filter, ids] of filters) {
    const query = new URLSearchParams({ ...filter, order: 'asc' }).toString()
    const { body } = await request('GET', `/api/v2/jobs?${query}`)
    t.match(body, { total: ids.length, count: ids.length, jobs: ids.map(id => ({ id })) }, query)
    t.match(await act({ action: 'cancel', filter, dry_run: true }), { status: 200, body: { count: ids.length, done: 0 } }, query)
  }
  t.equal(await total('status=cancelled'), 0, 'counting does nothing')
  t.match((await act({ action: 'delete', filter: { since: '2030-01-01T00:00:00Z' } })).body, { count: 0, done: 0 })
  t.match((await act({ action: 'cancel', filter: { key: mine.id } })).body, { done: 1 })
  t.equal(await statusOf(ofKey), 'cancelled')
  t.equal(await total('status=cancelled'), 1)
})

t.test('an action without a selection of jobs is rejected', async t => {
  const before = await total()
  const wrong: Array<[choice: object, field: string]> = [
    [{}, 'ids'], [{ filter: {} }, 'filter'], [{ all: false }, 'ids'], [{ filter: null }, 'filter'],
    [{ ids: ['x'], filter: { status: 'failed' } }, 'ids'], [{ ids: ['x'], all: true }, 'ids'],
    [{ filter: { statuss: 'failed' } }, 'filter.statuss'], [{ filter: { sinc: '2030-01-01T00:00:00Z' } }, 'filter.sinc'],
    [{ filter: { limit: 1 } }, 'filter.limit'], [{ filter: { offset: 1 } }, 'filter.offset'],
    [{ filter: { cursor: '1' } }, 'filter.cursor'], [{ filter: { order: 'asc' } }, 'filter.order'],
    [{ filter: { search: '' } }, 'filter.search'], [{ filter: { search: ' ' } }, 'filter.search'],
    [{ filter: { app_type: '' } }, 'filter.app_type'], [{ filter: { user: '' } }, 'filter.user'],
    [{ filter: { since: 'yesterday' } }, 'filter.since'], [{ filter: { server: 'Main', target_server_alias: 'Other' } }, 'filter.target_server_alias'],
    [{ filter: { status: 'failed' }, expect: 3 }, 'expect'], [{ filters: { status: 'failed' } }, 'filters'],
    [{ filter: { key: '*' } }, 'filter.key'], [{ filter: { key: '*:*' } }, 'filter.key'], [{ filter: { key: ' ' } }, 'filter.key'],
    [{ filter: { status: 'failed' }, created_before: 'now' }, 'created_before'], [{ all: true, expected: -1 }, 'expected']
  ]
  for (const base of ['/api/v2/jobs', '/api/v1/queue/jobs']) {
    for (const [choice, field] of wrong) {
      t.match(await request('POST', `${base}/actions`, { action: 'delete', ...choice }),
        { status: 400, body: { details: { field } } }, JSON.stringify(choice))
    }
  }
  t.match((await act({ action: 'delete', filter: { sinc: '2030-01-01T00:00:00Z' } })).body.details, { nearest: ['filter.since'] })
  t.match(await act({ action: 'delete', filter: { server: 'Nowhere' } }), { status: 404, body: { details: { field: 'filter.server' } } })
  t.equal((await request('POST', '/api/v2/jobs/actions?dry_run=true', { action: 'delete', all: true })).status, 400)
  t.equal(await total(), before, 'and nothing happened')
})

t.test('an action affects only the counted jobs, whatever arrives meanwhile', async t => {
  const counted = (await act({ action: 'delete', all: true, dry_run: true })).body
  const late = await submit({ ...quick, prompt: 'late' })
  const { count, created_before: createdBefore } = counted

  t.match(await act({ action: 'delete', all: true, expected: count }), {
    status: 409, body: { error: 'more_than_expected', details: { expected: count, count: Number(count) + 1, created_before: String } }
  })
  t.match(await act({ action: 'delete', all: true, expected: Number(count) - 1, created_before: createdBefore }),
    { status: 409, body: { details: { count } } })
  t.equal(await total(), Number(count) + 1, 'nothing was done')

  const listed = (await request('GET', '/api/v2/jobs')).body
  const later = await submit({ ...quick, prompt: 'later' })
  t.match(await act({ action: 'delete', all: true, expected: listed.total, created_before: listed.as_of, dry_run: true }),
    { body: { count: listed.total } }, 'a list tells the same')

  t.match(await act({ action: 'delete', all: true, expected: count, created_before: createdBefore }),
    { status: 200, body: { count, done: count, created_before: createdBefore } })
  t.strictSame([await statusOf(late), await statusOf(later), await total()], ['pending', 'pending', 2])

  t.match(await act({ action: 'cancel', ids: [late, later, 'nobody'], created_before: (await service.job(later)).creation_timestamp }),
    { body: { count: 1, done: 1, refused: [{ id: later }, { id: 'nobody' }].toSorted((one, other) => [later, 'nobody'].indexOf(one.id) - [later, 'nobody'].indexOf(other.id)) } })
  t.match(await act({ action: 'cancel', ids: [later, late], expected: 1 }), { status: 409, body: { details: { count: 2 } } })
  t.match(await act({ action: 'delete', all: true, expected: 5 }), { status: 200, body: { done: 2 } }, 'fewer are no error')
})

t.test('a time in the future limits nothing: the present jobs are counted', async t => {
  const one = await submit(quick)
  const { body } = await act({ action: 'delete', all: true, created_before: '2090-01-01T00:00:00Z', dry_run: true })
  t.match(body, { count: 1 })
  t.ok(Date.parse(String(body.created_before)) < Date.parse('2089-01-01T00:00:00Z'))
  const late = await submit(quick)
  t.match((await act({ action: 'delete', all: true, expected: 1, created_before: body.created_before })).body, { done: 1 })
  t.match((await act({ action: 'cancel', ids: [late], created_before: body.created_before })).body, {
    done: 0, refused: [{ id: late, code: 'job_operation_invalid', message: /not accepted before/ }]
  })
  t.match([(await request('GET', `/api/v2/jobs/${one}`)).status, await statusOf(late)], [404, 'pending'])
  await act({ action: 'delete', all: true })
})

t.test('a count includes only the jobs that the client can change', async t => {
  const mine = await keyHeaders(service, { scopes: ['jobs:write', 'jobs:read', 'jobs:read:all'] })
  const own = { target_server_alias: 'Main', generation_params: quick }
  for (let index = 0; index < 2; index++) await request('POST', '/api/v2/generate', own, mine.headers)
  const others = await submit(quick)
  t.equal((await request('GET', '/api/v2/jobs', undefined, mine.headers)).body.total, 3, 'it sees all')
  t.match((await act({ action: 'cancel', all: true, dry_run: true }, mine.headers)).body, { count: 2 })
  t.match((await act({ action: 'cancel', ids: [others], dry_run: true }, mine.headers)).body, { count: 0 })
  t.match(await act({ action: 'cancel', filter: { key: 'another' } }, mine.headers), { status: 403, body: { details: { field: 'filter.key' } } })
  t.match((await act({ action: 'cancel', all: true, expected: 2 }, mine.headers)).body, { done: 2 })
  t.equal(await statusOf(others), 'pending')
  await act({ action: 'delete', all: true })
})

t.test('a search reports how many jobs match, however many there are', async t => {
  for (const quantity of [100, 100, 100, 100, 100, 100, 30]) {
    await request('POST', '/api/v2/generate/bulk', {
      target_server_alias: 'Main', generation_params: { ...quick, prompt: 'one of many' }, bulk_quantity: quantity
    })
  }
  const one = await submit({ ...quick, prompt: 'another' })
  const first = (await request('GET', '/api/v2/jobs?search=one+of&limit=20')).body
  t.match(first, { total: 630, count: 20, next_cursor: String })
  const second = (await request('GET', `/api/v2/jobs?search=one+of&limit=20&cursor=${String(first.next_cursor)}`)).body
  t.match(second, { total: 630, count: 20 })
  t.notOk((first.jobs as JsonBody[]).some(({ id }) => (second.jobs as JsonBody[]).some(other => other.id === id)))
  t.match((await request('GET', '/api/v2/jobs?search=one+of&limit=20&offset=620')).body, { total: 630, count: 10, next_cursor: null })
  t.match((await act({ action: 'delete', filter: { search: 'one of' }, expected: 630 })).body, { count: 630, done: 630 })
  t.equal(await total(), 1)
  t.equal(await statusOf(one), 'pending')
})
