import { Writable } from 'node:stream'
import { pino } from 'pino'
import t from 'tap'
import { redaction } from '../../src/commands/logger.ts'
import { listenTo } from '../events/listener.ts'
import { quick, startService } from '../helper.ts'

interface Line {
  readonly msg: string
  readonly job?: string
  readonly request?: string
  readonly [name: string]: unknown
}

/** A logger as the service has it, and what it wrote. */
function listeningLogger () {
  const lines: Line[] = []
  const logger = pino({ level: 'debug', redact: redaction }, new Writable({
    write (chunk: Buffer, _encoding, done) {
      for (const line of chunk.toString('utf8').split('\n')) if (line !== '') lines.push(JSON.parse(line) as Line)
      done()
    }
  }))
  return { lines, logger }
}

t.test('every line about a job has its id and that of its request, from the submission to the end', async t => {
  const { lines, logger } = listeningLogger()
  const service = await startService(t, { logger })
  service.simulator.setFaults([{ kind: 'truncated-json', times: 1 }])
  const answer = await service.request('POST', '/api/v2/generate', {
    target_server_alias: 'Main', generation_params: quick
  })
  const id = String(answer.body.id)
  await service.until(id, 'completed')
  const request = answer.headers.get('x-request-id')
  const about = lines.filter(({ job }) => job === id)
  t.same(about.map(({ msg }) => msg).filter(msg => !/progress/.test(msg)), [
    'job accepted', 'generation started', 'generation failed', 'generation started', 'job completed'
  ])
  t.ok(about.every(line => line.request === request), 'and the line of the request has it too')
  t.match(lines.find(({ msg, path }) => msg === 'request' && path === '/api/v2/generate'), { request, status: 202 })
  t.match(about.find(({ msg }) => msg === 'generation failed'), { server: 'Main', code: /./, error: /./ })

  const listener = await listenTo(`${service.url}/api/v1/events`)
  await listener.untilKind('ready')
  listener.close()
  const isLeft = ({ msg, path }: Line) => /hung up/.test(msg) && path === '/api/v1/events'
  while (!lines.some(isLeft)) await new Promise(resolve => { setTimeout(resolve, 20) })
  t.match(lines.find(isLeft), { method: 'GET', status: 200, caller: 'local' }, 'who listens has a line in the end, too')
})

t.test('no line has a secret in it, whatever is sent, goes wrong or is written by carelessness', async t => {
  const { lines, logger } = listeningLogger()
  const service = await startService(t, { logger, settings: { AUTH_TOKEN: 'auth-token-of-the-test' } })
  const { accessKey, secret } = await service.house.accessKeys.create({ name: 'Logged' })
  const headers = { 'x-api-key': accessKey.key, 'x-api-secret': secret }
  await service.request('GET', '/api/v2/jobs?token=in-the-query', undefined, headers)
  await service.request('GET', '/api/v2/jobs', undefined, { authorization: 'Bearer wrong-token-that-nobody-knows' })
  await service.request('POST', '/api/v1/servers', {
    alias: 'Closed', apiUrl: 'http://127.0.0.1:9', username: 'somebody', password: 'server-password'
  })
  await service.request('POST', '/api/v1/servers/Closed/test')
  await service.request('POST', '/api/v2/generate', { generation_params: { ...quick, init_images: ['not-an-image'] } }, headers)
  logger.info({
    req: { headers: { authorization: 'Bearer careless', cookie: 'careless=1', 'x-api-secret': 'careless' } },
    server: { password: 'careless' },
    key: { secret: 'careless' }
  }, 'written without thought')

  const text = JSON.stringify(lines)
  t.match(text, 'written without thought')
  for (const told of [
    secret, 'in-the-query', 'wrong-token-that-nobody-knows', 'server-password', 'auth-token-of-the-test', 'careless',
    'not-an-image'
  ]) t.notOk(text.includes(told), told)
})
