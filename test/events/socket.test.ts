import { once } from 'node:events'
import t from 'tap'
import { WebSocket } from 'undici'
import type { EventView } from '../../schemas/event.ts'
import { keyHeaders } from '../api/access-key.ts'
import { quick, startService } from '../helper.ts'
import { kindsOf } from './listener.ts'

const service = await startService(t)
const address = `${service.url.replace('http', 'ws')}/ws`

interface Message {
  readonly type: string
  readonly subscription?: string
  readonly event?: EventView
  readonly [name: string]: unknown
}

/** A socket and its messages. */
async function open (headers: Readonly<Record<string, string>> = {}, query = '') {
  const socket = new WebSocket(address + query, { headers })
  const messages: Message[] = []
  let wakeUps: Array<() => void> = []
  const state = { closed: 0 }
  const wake = () => {
    for (const wakeUp of wakeUps) wakeUp()
    wakeUps = []
  }
  socket.addEventListener('message', ({ data }) => {
    messages.push(JSON.parse(String(data)) as Message)
    wake()
  })
  socket.addEventListener('close', ({ code }) => {
    state.closed = code
    wake()
  })
  t.teardown(() => { socket.close() })
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve)
    socket.addEventListener('error', () => { reject(new Error('refused')) })
  })
  async function until (fits: (message: Message) => boolean): Promise<Message> {
    for (;;) {
      const found = messages.find(fits)
      if (found !== undefined) return found
      if (state.closed !== 0) throw new Error(`closed with ${state.closed}`)
      await new Promise<void>(resolve => { wakeUps.push(resolve) })
    }
  }
  return {
    messages,
    say (message: unknown) { socket.send(typeof message === 'string' ? message : JSON.stringify(message)) },
    until,
    untilKind: async (subscription: string, kind: EventView['kind']) =>
      await until(message => message.subscription === subscription && message.event?.kind === kind),
    kindsOf: (subscription: string) => kindsOf(messages.flatMap(message =>
      message.subscription === subscription && message.event ? [message.event] : [])),
    async closed () {
      while (state.closed === 0) await new Promise<void>(resolve => { wakeUps.push(resolve) })
      return state.closed
    },
    close () { socket.close() }
  }
}

t.test('each subscription on one socket gets its own events', async t => {
  // By then the server is online, which is an event too.
  await service.until(await service.submit(quick), 'completed')
  const socket = await open()
  socket.say({ type: 'subscribe', id: 'all' })
  socket.say({ type: 'subscribe', id: 'ends', kinds: 'completed', server: 'Main' })
  await socket.untilKind('ends', 'ready')
  const jobId = await service.submit(quick)
  socket.say({ type: 'subscribe', id: 'one', job_id: jobId })
  await socket.until(({ type, subscription }) => type === 'ended' && subscription === 'one')
  await socket.untilKind('all', 'completed')
  await socket.untilKind('ends', 'completed')
  t.strictSame(socket.kindsOf('all'), ['ready', 'accepted', 'started', 'image', 'completed'])
  t.strictSame(socket.kindsOf('ends'), ['ready', 'completed'])
  t.equal(socket.kindsOf('one')[0], 'snapshot')
  t.equal(socket.kindsOf('one').at(-1), 'completed')

  socket.say({ type: 'unsubscribe', id: 'all' })
  await socket.until(({ type, subscription }) => type === 'ended' && subscription === 'all')
  const heard = socket.kindsOf('all').length
  socket.say({ type: 'ping' })
  await socket.until(({ type }) => type === 'pong')
  const next = await service.submit(quick)
  await socket.until(({ event }) => event?.kind === 'completed' && event.job_id === next)
  t.equal(socket.kindsOf('all').length, heard)

  const accepted = socket.messages.find(({ event }) => event?.kind === 'accepted')
  socket.say({ type: 'subscribe', id: 'missed', last_event_id: accepted?.event?.id })
  await socket.until(({ subscription, event }) =>
    subscription === 'missed' && event?.kind === 'completed' && event.job_id === next)
  t.strictSame(socket.kindsOf('missed').slice(0, 4), ['ready', 'started', 'image', 'completed'])
})

t.test('an invalid message gets an error, and the socket stays open', async t => {
  const socket = await open()
  for (const [message, code, field] of [
    ['nonsense', 'malformed_request', undefined],
    [[], 'invalid_field_value', 'type'],
    [{ type: 'listen' }, 'invalid_field_value', 'type'],
    [{ type: 'subscribe' }, 'invalid_field_value', 'id'],
    [{ type: 'subscribe', id: 'a', kinds: 5 }, 'invalid_field_value', 'kinds'],
    [{ type: 'subscribe', id: 'b', kinds: 'nothing' }, 'invalid_field_value', 'kinds'],
    [{ type: 'subscribe', id: 'c', server: 'Nowhere' }, 'server_not_found', 'server'],
    [{ type: 'subscribe', id: 'd', job_id: 'none' }, 'job_not_found', undefined],
    [{ type: 'subscribe', id: 'e', last_event_id: 'x' }, 'invalid_field_value', 'last_event_id']
  ] as const) {
    const before = socket.messages.length
    socket.say(message)
    const answer = await socket.until(found => socket.messages.indexOf(found) >= before)
    t.match(answer, { type: 'error', code, ...(field === undefined ? {} : { details: { field } }) }, JSON.stringify(message))
  }
  socket.say({ type: 'subscribe', id: 'a' })
  await socket.untilKind('a', 'ready')
  socket.say({ type: 'subscribe', id: 'a' })
  t.match(await socket.until(({ type, subscription }) => type === 'error' && subscription === 'a'), { details: { field: 'id' } })
  for (let count = 0; count < 60; count++) socket.say({ type: 'subscribe', id: `many-${count}` })
  await socket.until(({ code }) => code === 'too_many_listeners')
  for (let count = 0; count < 300; count++) socket.say({ type: 'ping' })
  t.equal(await socket.closed(), 1008)
})

t.test('a socket needs the right to listen, and a page of our own', async t => {
  const own = await keyHeaders(service)
  const { body } = await service.request('POST', '/api/v1/events/ticket', undefined, own.headers)
  const query = `?ticket=${String(body.ticket)}`
  const socket = await open({ Origin: service.url }, query)
  socket.say({ type: 'subscribe', id: 'all' })
  await socket.untilKind('all', 'ready')
  const jobId = await service.submit(quick)
  await service.until(jobId, 'completed')
  t.strictSame(socket.kindsOf('all'), ['ready'], 'it is a key that hears its own jobs only')
  await t.rejects(open({}, query), 'a ticket is good once')
  await t.rejects(open({ Origin: 'http://elsewhere.example' }), 'another page may not')
  await t.rejects(open({ ...own.headers, 'X-API-Secret': 'wrong' }))
  const blind = await keyHeaders(service, { scopes: ['images:read'] })
  await t.rejects(open(blind.headers))
  t.equal((await service.request('GET', '/ws')).status, 426)

  await service.services.accessKeys.update(own.id, { active: false })
  t.equal(await socket.closed(), 1012)
})

t.test('a wait for a job ends with the job, or when the time is over', async t => {
  await service.request('POST', '/api/v1/servers/Main/pause')
  const jobId = await service.submit(quick)
  const short = await service.request('GET', `/api/v2/jobs/${jobId}?wait=1`)
  t.match(short.body, { job: { status: 'pending' } })
  const waiting = service.request('GET', `/api/v1/jobs/${jobId}/status?wait=120`)
  await service.request('POST', '/api/v1/servers/Main/resume')
  t.match((await waiting).body, { status: 'completed' })
  t.match((await service.request('GET', `/api/v2/jobs/${jobId}/status?wait=120`)).body, { job: { status: 'completed' } })
  for (const wait of ['121', '-1', 'long', '1.5']) {
    const { status, body } = await service.request('GET', `/api/v2/jobs/${jobId}?wait=${wait}`)
    t.equal(status, 400, wait)
    t.match(body.details, { field: 'wait' })
  }
})

t.test('a service that stops ends all sockets', async t => {
  await service.request('POST', '/api/v1/servers/Main/pause')
  const jobId = await service.submit(quick)
  const arrived = once(service.app.server, 'request')
  const waiting = service.request('GET', `/api/v2/jobs/${jobId}?wait=120`)
  await arrived
  // Redis answers in order: after this answer, the request before it waits too.
  await service.request('GET', `/api/v2/jobs/${jobId}`)
  const socket = await open()
  socket.say({ type: 'subscribe', id: 'all' })
  await socket.untilKind('all', 'ready')
  await service.app.close()
  t.equal(await socket.closed(), 1012)
  t.match((await waiting).body, { job: { status: 'pending' } })
})
