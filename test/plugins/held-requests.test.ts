import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { WebSocket } from 'ws'
import { keyHeaders } from '../api/access-key.ts'
import { quick, startService } from '../helper.ts'

const service = await startService(t, {
  worker: 'none', settings: { LISTENERS_PER_KEY: '2', WAITING_PER_KEY: '1' }
})
const [one, other] = [await keyHeaders(service), await keyHeaders(service)]
const jobId = await service.submit(quick)

interface Listening {
  readonly status: number
  readonly text: string
  close (): Promise<void>
}

type Headers = Readonly<Record<string, string>>

async function listen (path: string, headers: Headers = {}): Promise<Listening> {
  const end = new AbortController()
  const answer = await fetch(service.url + path, { headers, signal: end.signal })
  return {
    status: answer.status,
    text: answer.status === 200 ? '' : await answer.text(),
    async close () {
      end.abort()
      await answer.text().catch(() => {})
    }
  }
}

async function openSocket (path: string, headers: Headers = {}): Promise<{ status: number, socket: WebSocket }> {
  const socket = new WebSocket(service.url.replace('http', 'ws') + path, { headers })
  socket.on('error', () => {})
  const [kind, response] = await Promise.race([
    once(socket, 'open').then(() => ['open', null] as const),
    once(socket, 'unexpected-response').then(([, response]) => ['refused', response as { statusCode: number }] as const)
  ])
  return { status: kind === 'open' ? 101 : response?.statusCode ?? 0, socket }
}

/** Retries until the service has noticed the end of another connection. */
async function until (look: () => Promise<{ status: number }>, status: number): Promise<void> {
  while ((await look()).status !== status) await sleep(10)
}

for (const [who, headers] of [['an access key', one.headers], ['an address without a key', {}]] as const) {
  t.test(`${who} has a limited number of streams and sockets, of all interfaces together`, async t => {
    const stream = await listen('/api/v1/events', headers)
    const { socket } = await openSocket('/ws', headers)
    for (const path of ['/api/v1/events', `/api/v2/jobs/${jobId}/events`]) {
      const refused = await listen(path, headers)
      t.equal(refused.status, 429, path)
      t.match(refused.text, /listener_limit_reached[^]*LISTENERS_PER_KEY/)
    }
    for (const path of ['/ws', '/ws/users/ann']) t.equal((await openSocket(path, headers)).status, 429, path)
    const others = await listen('/api/v1/events', other.headers)
    t.equal(others.status, 200, 'others have theirs')
    await others.close()

    socket.close()
    await until(async () => await openSocket('/ws/users/ann', headers), 101)
    await stream.close()
    await until(async () => await listen('/api/v1/events', headers), 200)
    t.pass('who leaves gives the place back')
  })

  t.test(`${who} has a limited number of waiting requests`, async t => {
    const end = new AbortController()
    t.teardown(() => { end.abort() })
    const waiting = fetch(`${service.url}/sdapi/v1/txt2img`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json', prefer: 'early-job-id' },
      body: JSON.stringify(quick),
      signal: end.signal
    })
    t.equal((await waiting).status, 200, 'its answer has begun, and ends with the job')
    const id = await service.submit(quick)
    const refused = await service.request('GET', `/api/v2/jobs/${id}?wait=100`, undefined, headers)
    if (who === 'an access key') t.equal(refused.status, 404, 'the job of another')
    else t.match(refused, { status: 429, body: { error: 'listener_limit_reached', message: /WAITING_PER_KEY/ } })
    const drop = await service.request('POST', '/sdapi/v1/txt2img', quick, headers)
    t.equal(drop.status, 429)
    t.match(drop.body.detail, /WAITING_PER_KEY/)
    t.match(drop.headers.get('retry-after'), /^\d+$/)
    const quickly = await service.request('POST', '/sdapi/v1/txt2img?async=1', quick, headers)
    t.equal(quickly.status, 202, 'who does not wait is not counted')
  })
}
