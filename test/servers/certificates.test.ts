import { once } from 'node:events'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { createA1111Client } from '../../src/a1111/client.ts'
import { probeServer } from '../../src/a1111/probe.ts'
import { GenerationFailure, type ServerAddress } from '../../src/a1111/types.ts'
import { runDoctor } from '../../src/main/doctor.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { startService } from '../helper.ts'
import { pem, startGate } from './token-gate.ts'

const simulator = await startSimulator({ speed: Infinity })
t.teardown(simulator.close)
const sendSlot = async (t: Test, ...chain: string[]) => await startGate(t, simulator.url, () => true, chain)

/** The result of probing a server there: its kind, or the problem. */
async function probed (address: ServerAddress): Promise<string> {
  const client = createA1111Client(address)
  try {
    return (await probeServer(client)).kind
  } catch (error) {
    if (!(error instanceof GenerationFailure)) throw error
    return `${error.code}: ${error.message}`
  } finally {
    await client.close()
  }
}

t.test('a certificate is trusted if its authority, its intermediate or itself was given', async t => {
  const selfSigned = await sendSlot(t, 'self-signed')
  const ofPrivate = await sendSlot(t, 'private')
  const chained = await sendSlot(t, 'chained', 'intermediate')
  const incomplete = await sendSlot(t, 'chained')
  const cases: Array<[url: string, trust: Partial<ServerAddress>]> = [
    [selfSigned.url, { ca: pem('self-signed') }],
    [selfSigned.url, { tlsVerify: false }],
    [ofPrivate.url, { ca: pem('root') }],
    [ofPrivate.url.replace('127.0.0.1', 'localhost'), { ca: pem('root') }],
    [chained.url, { ca: pem('root') }],
    [incomplete.url, { ca: pem('intermediate') }],
    [incomplete.url, { ca: pem('intermediate') + pem('root') }],
    [(await sendSlot(t, 'expired')).url, { tlsVerify: false }],
    [(await sendSlot(t, 'elsewhere')).url, { tlsVerify: false }]
  ]
  for (const [baseUrl, trust] of cases) t.equal(await probed({ baseUrl, ...trust }), 'simulator', JSON.stringify(trust).slice(0, 60))
})

t.test('errors of a certificate are named with their cure', async t => {
  const cases: Array<[chain: string[], trust: Partial<ServerAddress>, said: RegExp]> = [
    [['self-signed'], {}, /^certificate_self_signed: .*self-signed.*as ca of the server.*tls_verify.*"self-signed server"/],
    [['private'], {}, /^certificate_unverified: .*private authority.*as ca.*"StableQueue test root"/],
    [['private', 'root'], {}, /^certificate_unknown_issuer: .*private authority.*as ca/],
    [['chained', 'intermediate'], {}, /^certificate_unknown_issuer: .*unknown authority.*as ca/],
    [['chained'], {}, /^certificate_intermediate_missing: .*intermediate certificate "StableQueue test intermediate".*full chain/],
    [['chained'], { ca: pem('root') }, /^certificate_intermediate_missing: .*intermediate certificate "StableQueue test intermediate".*full chain/],
    [['expired'], { ca: pem('root') }, /^certificate_expired: .*expired; renew it.*2021/],
    [['elsewhere'], { ca: pem('root') }, /^certificate_wrong_host: .*another host name.*It is for: elsewhere\.test/]
  ]
  for (const [chain, trust, said] of cases) {
    const { url, seen } = await sendSlot(t, ...chain)
    t.match(await probed({ baseUrl: url, bearer: 'secret-token', ...trust }), said)
    t.equal(seen.length, 0, 'nothing was sent')
  }
})

t.test('http on an https port and https on an http port are named as such', async t => {
  const secure = await sendSlot(t, 'private')
  t.match(await probed({ baseUrl: `http://127.0.0.1:${secure.port}` }), /^https_expected: .*speaks https, not http.*https:\/\/127\.0\.0\.1/)
  t.match(await probed({ baseUrl: simulator.url.replace('http:', 'https:') }), /^not_https: .*speaks http, not https.*http:\/\/127\.0\.0\.1/)
  // nginx answers plain http with a page, some close at once, others speak neither
  const closing = createTcpServer(socket => { socket.on('error', () => {}).once('data', () => { socket.destroy() }) })
  closing.listen(0, '127.0.0.1')
  await once(closing, 'listening')
  t.teardown(() => closing.close())
  const { port } = closing.address() as AddressInfo
  t.match(await probed({ baseUrl: `http://127.0.0.1:${port}` }), /^connection_lost/)
  t.match(await probed({ baseUrl: `https://127.0.0.1:${port}` }), /^connection_lost/)
})

t.test('the list, the test of a server and the doctor name it', async t => {
  const { url } = await sendSlot(t, 'self-signed')
  const service = await startService(t, { servers: {} })
  await service.request('POST', '/api/v1/servers', { alias: 'Private', apiUrl: url })
  const tested = await service.request('POST', '/api/v1/servers/Private/test')
  t.match(tested.body, { reachable: false, message: /self-signed/, server: { health: 'offline', last_error: /self-signed/ } })
  t.match((await service.request('PUT', '/api/v1/servers/Private', { ca: pem('self-signed') })).body, { server: { has_ca: true } })
  t.match((await service.request('POST', '/api/v1/servers/Private/test')).body, { reachable: true, server: { health: 'online' } })

  let report = ''
  await runDoctor({ REDIS_URL: '', REDIS_SERVER: '', DATA_DIR: '/tmp' }, {
    servers: [{ alias: 'Private', url }],
    async probeServer (url) {
      const client = createA1111Client({ baseUrl: url })
      return await probeServer(client).then(({ kind }) => kind).finally(() => client.close())
    },
    print: text => { report = text }
  }, 'text')
  t.match(report, /server Private: .*self-signed.*as ca of the server/)
  t.notMatch(report, '--api', 'the cure is not what helps against something else')
})
