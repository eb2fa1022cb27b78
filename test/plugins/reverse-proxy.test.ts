import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { startService, type Service } from '../helper.ts'
import { startTestRedis } from '../redis.ts'

/** One route of every interface that acts on private data. */
const routes = [
  ['GET', '/ui/session'], ['GET', '/dashboard'], ['GET', '/dashboard/api/queues'], ['GET', '/metrics'],
  ['GET', '/api/v1/api-keys'], ['POST', '/api/v1/api-keys'], ['POST', '/api/v1/api-keys/setup'],
  ['GET', '/api/v1/settings'], ['GET', '/api/v1/servers'], ['GET', '/api/v1/events'], ['POST', '/api/v1/events/ticket'],
  ['GET', '/api/v2/jobs'], ['POST', '/api/v2/jobs/actions'], ['POST', '/api/v2/generate'], ['GET', '/outputs/a.png'],
  ['POST', '/sdapi/v1/txt2img'], ['GET', '/sdapi/v1/options'], ['POST', '/sdapi/v1/interrupt'],
  ['POST', '/generate/txt2img'], ['GET', '/jobs/a'], ['GET', '/sessions/u'], ['GET', '/presets/u']
] as const

/** The requests of proxies whose configuration has only the target address. */
const plainProxies: Readonly<Record<string, (port: string) => { version: string, headers: string[] }>> = {
  'nginx with proxy_pass alone': port => ({
    version: '1.0', headers: [`Host: 127.0.0.1:${port}`, 'Connection: close', 'user-agent: curl/8.0', 'accept: */*']
  }),
  'nginx with proxy_http_version 1.1': port => ({
    version: '1.1', headers: [`Host: 127.0.0.1:${port}`, 'user-agent: curl/8.0', 'accept: */*', 'Connection: close']
  }),
  'HAProxy without forwardfor': () => ({
    version: '1.1', headers: ['host: queue.example', 'user-agent: curl/8.0', 'accept: */*', 'connection: close']
  }),
  'HAProxy, asked for this machine': () => ({
    version: '1.1', headers: ['host: localhost', 'user-agent: curl/8.0', 'accept: */*', 'connection: close']
  })
}

const token = 'token-of-the-operator'

/** Sends exactly these lines and returns the status of the answer. */
async function sendRaw ({ url }: Service, lines: string[]): Promise<number> {
  const { port, hostname } = new URL(url)
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  socket.write([...lines, '', ''].join('\r\n'))
  socket.setEncoding('latin1')
  const [answer] = await once(socket, 'data') as [string]
  socket.destroy()
  return Number(/^HTTP\/1\.[01] (\d{3})/.exec(answer)?.[1])
}

t.test('behind a proxy that adds no header, a public name requires credentials on every interface', async t => {
  const redis = await startTestRedis()
  t.teardown(redis.stop)
  for (const [index, settings] of [
    { PUBLIC_HOSTS: 'queue.example' },
    { PUBLIC_URL: 'https://queue.example' },
    { PUBLIC_HOSTS: 'queue.example', UI_AUTH: 'none', UI_TRUSTED_CIDRS: '127.0.0.0/8' },
    { PUBLIC_URL: 'https://queue.example', UI_AUTH: 'none', UI_TRUSTED_CIDRS: '127.0.0.0/8' }
  ].entries()) {
    const service = await startService(t, {
      redis, worker: 'none', settings: { ...settings, AUTH_TOKEN: token, REDIS_PREFIX: `named-${index}` }
    })
    const { port } = new URL(service.url)
    for (const [name, shape] of Object.entries(plainProxies)) {
      const { version, headers } = shape(port)
      const body = ['content-type: application/json', 'content-length: 0']
      const statuses = await Promise.all(routes.map(async ([method, path]) =>
        await sendRaw(service, [`${method} ${path} HTTP/${version}`, ...headers, ...method === 'POST' ? body : []])))
      t.strictSame(statuses, routes.map(() => 401), `${name}, ${JSON.stringify(settings)}`)
      const upgrade = [...headers.filter(line => !/^connection/i.test(line)), 'Connection: Upgrade', 'Upgrade: websocket',
        'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==']
      for (const path of ['/ws', '/ws/jobs/a', '/ws/users/u']) {
        t.equal(await sendRaw(service, [`GET ${path} HTTP/1.1`, ...upgrade]), 401, `a WebSocket at ${path}`)
      }
      t.equal(await sendRaw(service, [`GET /health HTTP/${version}`, ...headers]), 200, 'what is public stays public')
      t.equal(await sendRaw(service, [`GET /metrics HTTP/${version}`, ...headers,
        `authorization: Bearer ${token}`]), 200, 'and the token is good')
    }
  }
})

t.end()
