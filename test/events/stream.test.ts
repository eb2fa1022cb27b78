import { connect } from 'node:net'
import t from 'tap'
import type { EventView } from '../../schemas/event.ts'
import { keyHeaders } from '../api/access-key.ts'
import { quick, startService } from '../helper.ts'
import { kindsOf, listenTo } from './listener.ts'

const service = await startService(t)
const { redis, keys, registry } = service.services
const everything = `${service.url}/api/v1/events`
const ofJob = (jobId: string) => `${service.url}/api/v1/jobs/${jobId}/events`
const about = (heard: readonly EventView[], jobId: string) => heard.filter(({ job_id: id }) => id === jobId)

t.test('a listener gets a job\'s events from its acceptance to its images', async t => {
  const listener = await listenTo(everything)
  t.teardown(listener.close)
  t.equal(listener.headers.get('content-type'), 'text/event-stream; charset=utf-8')
  t.equal(listener.headers.get('cache-control'), 'no-store, no-transform')
  await listener.untilKind('ready')
  t.match(listener.asides[0], /^retry: \d+$/)
  const jobId = await service.submit(quick)
  const end = await listener.until(({ kind, job_id: id }) => kind === 'completed' && id === jobId)
  t.strictSame(kindsOf(listener.events), ['ready', 'accepted', 'started', 'image', 'completed'])
  const [image] = (await service.job(jobId)).images
  t.match(end, {
    server: 'Main',
    api_key_id: null,
    status: 'completed',
    data: { images: [{ filename: image?.filename, url: image?.url }] }
  })
  t.match(listener.events.find(({ kind }) => kind === 'accepted')?.data, { position: 1, priority: 5 })
  t.match(listener.events.find(({ kind }) => kind === 'image')?.data, { url: image?.url })
})

t.test('filters narrow a stream; the error for an invalid one names its field', async t => {
  const ends = await listenTo(`${everything}?kinds=completed,%20cancelled&status=completed&server=main`)
  t.teardown(ends.close)
  await ends.untilKind('ready')
  const jobId = await service.submit(quick)
  await ends.until(({ job_id: id }) => id === jobId)
  t.strictSame(kindsOf(ends.events), ['ready', 'completed'])

  for (const [query, status, field] of [
    ['kinds=completd', 400, 'kinds'],
    ['status=done', 400, 'status'],
    ['server=Nowhere', 404, 'server'],
    ['lastEventId=yesterday', 400, 'lastEventId']
  ] as const) {
    const { status: given, body } = await service.request('GET', `/api/v1/events?${query}`)
    t.equal(given, status, query)
    t.match(body.details, { field }, query)
  }
  const { body } = await service.request('GET', '/api/v1/events?kinds=completd')
  t.match(body.details, { nearest: ['completed'] })
  t.equal((await service.request('GET', '/api/v1/events', undefined, { 'Last-Event-ID': 'x' })).status, 400)
})

t.test('a key gets events of its own jobs, of servers if its scopes include them, and none once it is disabled', async t => {
  const own = await keyHeaders(service)
  const other = await keyHeaders(service, { scopes: ['jobs:read'] })
  const manager = await keyHeaders(service, { scopes: ['jobs:read', 'jobs:read:all'] })
  const listeners = await Promise.all([own, other, manager].map(async ({ headers }) => {
    const listener = await listenTo(everything, headers)
    t.teardown(listener.close)
    await listener.untilKind('ready')
    return listener
  }))
  const { body } = await service.request('POST', '/api/v2/generate', {
    target_server_alias: 'Main', generation_params: quick
  }, own.headers)
  const theirs = String(body.job_id)
  const ours = await service.submit(quick)
  const server = await registry.update(registry.require('Main').id, { paused: true })
  await registry.update(server.id, { paused: false })
  await service.until(ours, 'completed')
  const [owner, thirdParty, all] = listeners
  await all?.until(({ job_id: id, kind }) => id === ours && kind === 'completed')
  await owner?.untilKind('server-resumed')
  t.same(about(owner?.events ?? [], ours), [])
  t.ok(about(owner?.events ?? [], theirs).every(event => event.api_key_id === own.id))
  t.ok(about(owner?.events ?? [], theirs).length > 2)
  t.strictSame(kindsOf(thirdParty?.events ?? []), ['ready'])
  t.notOk(all?.events.some(({ kind }) => kind.startsWith('server-')))

  for (const [status, code, path, headers] of [
    [403, 'permission_denied', `/api/v1/events?key=${own.id}`, other.headers],
    [404, 'job_not_found', `/api/v1/jobs/${theirs}/events`, other.headers],
    [404, 'job_not_found', '/api/v2/jobs/none/events', {}]
  ] as const) {
    const { status: given, body: answer } = await service.request('GET', path, undefined, headers)
    t.strictSame([given, answer.error], [status, code], path)
  }
  const byKey = await listenTo(`${everything}?key=${own.id}&lastEventId=0`, manager.headers)
  t.teardown(byKey.close)
  await byKey.until(({ job_id: id, kind }) => id === theirs && kind === 'completed')
  t.ok(byKey.events.every(event => event.kind === 'ready' || event.api_key_id === own.id))

  await service.services.accessKeys.update(own.id, { active: false })
  await owner?.ended()
})

t.test('servers have events', async t => {
  const listener = await listenTo(`${everything}?kinds=server-added,server-changed,server-up,server-removed,server-down`)
  t.teardown(listener.close)
  await listener.untilKind('ready')
  await service.request('POST', '/api/v1/servers', { alias: 'Second', apiUrl: service.simulator.url })
  await listener.until(({ kind, server }) => kind === 'server-up' && server === 'Second')
  await service.request('DELETE', '/api/v1/servers/Second')
  await listener.until(({ kind, server }) => kind === 'server-removed' && server === 'Second')
  t.equal(listener.events.find(({ kind }) => kind === 'server-added')?.server, 'Second')
})

t.test('one job: a snapshot first, its end last, however late a client asks', async t => {
  await service.request('POST', '/api/v1/servers/Main/pause')
  const jobId = await service.submit(quick)
  const early = await listenTo(ofJob(jobId))
  t.match(await early.untilKind('snapshot'), { status: 'pending', data: { queue_position: 1 } })
  await service.request('POST', '/api/v1/servers/Main/resume')
  t.strictSame(kindsOf(await early.ended()), ['snapshot', 'started', 'image', 'completed'])

  const late = await listenTo(`${service.url}/api/v2/queue/jobs/${jobId}/events?kinds=started`)
  t.strictSame(kindsOf(await late.ended()), ['snapshot', 'completed'])
  t.match(late.events[1]?.data, { images: [{}] })

  for (const knowing of [early, late]) {
    const again = await fetch(ofJob(jobId), { headers: { 'Last-Event-ID': knowing.lastEventId() } })
    t.equal(again.status, 204, 'a client that has the end gets 204')
  }
  const started = early.events.find(({ kind }) => kind === 'started')
  const between = await listenTo(ofJob(jobId), { 'Last-Event-ID': String(started?.id) })
  t.strictSame(kindsOf(await between.ended()), ['snapshot', 'image', 'completed'])

  await service.request('DELETE', `/api/v1/jobs/${jobId}`)
  const afterwards = await listenTo(ofJob(jobId), { 'Last-Event-ID': String(started?.id) })
  t.strictSame(kindsOf(await afterwards.ended()), ['image', 'completed', 'removed'])
  t.equal((await service.request('GET', `/api/v1/jobs/${jobId}/events`)).status, 404)
})

t.test('a job that failed and is retried has events again', async t => {
  await service.request('POST', '/api/v1/servers/Main/pause')
  const jobId = await service.submit(quick)
  const first = await listenTo(ofJob(jobId))
  await first.untilKind('snapshot')
  await service.request('POST', `/api/v1/jobs/${jobId}/cancel`)
  t.strictSame(kindsOf(await first.ended()), ['snapshot', 'cancelled'])
  await service.request('POST', `/api/v1/jobs/${jobId}/retry`)
  const snapshot = first.events[0]
  const second = await listenTo(ofJob(jobId), { 'Last-Event-ID': String(snapshot?.id) })
  await service.request('POST', '/api/v1/servers/Main/resume')
  t.strictSame(kindsOf(await second.ended()), ['snapshot', 'cancelled', 'accepted', 'started', 'image', 'completed'])
})

t.test('a client that reconnects too late gets a reset, and still gets the end of a job', async t => {
  const before = await listenTo(everything)
  await before.untilKind('ready')
  const missed = before.lastEventId()
  before.close()
  const jobId = await service.submit(quick)
  await service.until(jobId, 'completed')
  await redis.xtrim(keys.key('events'), 'MAXLEN', 1)

  const listener = await listenTo(everything, { 'Last-Event-ID': missed })
  t.teardown(listener.close)
  const reset = await listener.untilKind('reset')
  const next = await service.submit(quick)
  await listener.until(({ kind, job_id: id }) => kind === 'accepted' && id === next)
  t.strictSame(about(listener.events, jobId), [])
  const onward = await listenTo(everything, { 'Last-Event-ID': String(reset.id) })
  t.teardown(onward.close)
  await onward.until(({ kind, job_id: id }) => kind === 'accepted' && id === next)
  t.notOk(onward.events.some(({ kind }) => kind === 'reset'))

  const one = await listenTo(ofJob(jobId), { 'Last-Event-ID': missed })
  t.strictSame(kindsOf(await one.ended()), ['reset', 'snapshot', 'completed'])
  const future = await listenTo(everything, { 'Last-Event-ID': '9999999999999-0' })
  t.teardown(future.close)
  await future.untilKind('reset')
})

/** A message of a WebSocket client, shorter than 126 bytes, with a mask of zeros. */
function frame (message: unknown): Buffer {
  const text = Buffer.from(JSON.stringify(message))
  return Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), text])
}

const upgrade = 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n' +
  `Sec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}\r\n`

for (const [carrier, path, headers, first] of [
  ['a stream', '/api/v1/events?lastEventId=0', '', ''],
  ['a socket', '/ws', upgrade, frame({ type: 'subscribe', id: 'all' })]
] as const) {
  t.test(`a reader of ${carrier} that reads nothing is disconnected, and others do not wait`, async t => {
    const { port, hostname } = new URL(service.url)
    const slow = connect(Number(port), hostname)
    t.teardown(() => { slow.destroy() })
    slow.write(`GET ${path} HTTP/1.1\r\nHost: ${hostname}\r\n${headers}\r\n`)
    let heard = ''
    const ready = new Promise<void>(resolve => {
      slow.on('data', chunk => {
        heard += String(chunk)
        if (/event: ready|"kind":"ready"/.test(heard)) resolve()
      })
    })
    slow.write(first)
    await ready
    slow.pause()
    const dropped = new Promise(resolve => { slow.once('close', resolve) })
    const quickReader = await listenTo(everything)
    t.teardown(quickReader.close)
    await quickReader.untilKind('ready')
    const padding = 'x'.repeat(60_000)
    // The kernel buffers some megabytes for a reader.
    for (let count = 0; count < 200; count++) {
      await redis.publish(keys.channel('jobs'), JSON.stringify({
        kind: 'progress', job: `padding-${count}`, server: '', key: '', status: 'processing', moment: 1, data: { padding }
      }))
    }
    await quickReader.until(({ job_id: id }) => id === 'padding-199')
    slow.resume()
    await dropped
  })
}

t.test('a ticket authenticates its holder once', async t => {
  const own = await keyHeaders(service)
  const { body } = await service.request('POST', '/api/v1/events/ticket', undefined, own.headers)
  const withTicket = `${everything}?ticket=${String(body.ticket)}`
  const listener = await listenTo(withTicket, { Origin: service.url, 'Sec-Fetch-Site': 'same-origin' })
  t.teardown(listener.close)
  await listener.untilKind('ready')
  const jobId = await service.submit(quick)
  await service.until(jobId, 'completed')
  t.strictSame(kindsOf(listener.events), ['ready'], 'it is a key that hears its own jobs only')
  for (const path of [withTicket, `${everything}?ticket=none`]) {
    const again = await fetch(path)
    t.equal(again.status, 401)
    t.match(await again.json(), { error: 'authentication_required', details: { field: 'ticket' } })
  }
  const foreign = await service.request('POST', '/api/v1/events/ticket')
  const stolen = await fetch(`${everything}?ticket=${String(foreign.body.ticket)}`, {
    headers: { Origin: 'http://elsewhere.example' }
  })
  t.equal(stolen.status, 403)
  const elsewhere = await service.request('POST', '/api/v1/events/ticket', undefined, own.headers)
  const list = await service.request('GET', `/api/v1/jobs?ticket=${String(elsewhere.body.ticket)}`)
  t.equal(list.status, 200, 'other routes do not look at it')
  t.strictSame(await redis.keys(`*${String(elsewhere.body.ticket)}*`), [])
})

t.test('previews go to clients that ask for them, and are fetched once for all of them', async t => {
  service.simulator.setFaults([{ kind: 'slow', factor: 30 }])
  const jobId = await service.submit({ ...quick, width: 256, height: 256, steps: 60 })
  const watchers = await Promise.all(['progress,preview', 'preview', 'progress'].map(async kinds => {
    const listener = await listenTo(`${ofJob(jobId)}?kinds=${kinds}`)
    t.teardown(listener.close)
    return listener
  }))
  const [first, second, third] = watchers
  const shown = await first?.untilKind('preview')
  await second?.until(({ data }) => data.url === shown?.data.url)
  const response = await fetch(service.url + String(shown?.data.url))
  t.equal(response.headers.get('content-type'), 'image/jpeg')
  const bytes = Buffer.from(await response.arrayBuffer())
  t.equal(bytes.subarray(0, 2).toString('hex'), 'ffd8')
  await third?.untilKind('progress')
  service.simulator.setFaults([])
  await service.request('POST', `/api/v1/jobs/${jobId}/cancel`)
  await Promise.all(watchers.map(async watcher => await watcher.ended()))
  t.notOk(await redis.exists(keys.key('previews')))
  const kept = JSON.stringify(await redis.xrange(keys.key('events'), '-', '+'))
  t.notMatch(kept, /preview/)
  t.match((await service.request('GET', `/api/v1/jobs/${jobId}/preview`)).body, { error: 'image_not_found' })
  for (const gone of [`/api/v2/jobs/${jobId}/preview`, '/api/v2/jobs/none/preview', '/outputs/thumbs/none.png']) {
    t.match(await service.request('GET', `${gone}?missing=empty`), { status: 204 }, `${gone}: pages can ask for no 404`)
  }
})
