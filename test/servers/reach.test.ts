import t from 'tap'
import { parseSettings } from '../../src/config/parse.ts'
import { registerFromSettings } from '../../src/servers/discover.ts'
import { createServerReach } from '../../src/servers/address.ts'
import { onNotices, startService } from '../helper.ts'

const metadata = [
  'http://169.254.169.254', 'http://169.254.169.254:7860/sub', 'https://169.254.169.254', 'http://169.254.1.1',
  'http://2852039166', 'http://0xa9fea9fe', 'http://0xa9.254.0xa9fe', 'http://0251.0376.0251.0376', 'http://①⑥⑨.254.169.254',
  'http://[::ffff:169.254.169.254]', 'http://[::ffff:a9fe:a9fe]', 'http://[64:ff9b::169.254.169.254]', 'http://[2002:a9fe:a9fe::]',
  'http://[fe80::1]:7860', 'http://[fd00:ec2::254]', 'http://100.100.100.200', 'http://168.63.129.16', 'http://192.0.0.192',
  'http://224.0.0.1', 'http://255.255.255.255', 'http://169.254.169.254.', 'http://[64:ff9b:1::a9fe:a9fe]',
  'http://metadata.google.internal', 'http://Metadata.Google.Internal.', 'http://metadata.goog'
]
const names: Readonly<Record<string, string[]>> = {
  'metadata.test': ['169.254.169.254'], 'gpu.local': ['fe80::1', '192.168.1.20'], 'lan.test': ['192.168.1.20'], 'none.test': []
}
const lookUp = async (host: string) =>
  (names[host] ?? []).map(address => ({ address, family: address.includes(':') ? 6 : 4 }))
const checked = async (url: string, ...allow: string[]) =>
  await createServerReach(allow, lookUp).check(url, 'apiUrl').then(() => 'taken', (error: Error) => error.message)

t.test('no notation of a link-local or metadata address is accepted, and every address of a home or office is', async t => {
  for (const url of [...metadata, 'http://metadata.test']) t.match(await checked(url), /SERVERS_ALLOW/, url)
  for (const url of [
    'http://127.0.0.1:7860', 'http://localhost:7860', 'http://0.0.0.0:7860', 'http://0:7860', 'http://[::]:7860',
    'http://[::1]:7860', 'http://10.0.0.1', 'http://192.168.1.20:7860', 'http://172.17.0.1', 'http://100.64.1.2',
    'http://[fd12::1]:7860', 'http://1.1.1.1', 'http://lan.test', 'http://gpu.local:7860', 'http://none.test'
  ]) t.equal(await checked(url), 'taken', url)
})

t.test('SERVERS_ALLOW opens addresses, networks and names', async t => {
  t.equal(await checked('http://169.254.10.5:7860', '169.254.10.0/24'), 'taken')
  t.equal(await checked('http://[::ffff:169.254.10.5]:7860', '169.254.10.5'), 'taken')
  t.equal(await checked('http://[fe80::5]:7860', 'fe80::/10'), 'taken')
  t.equal(await checked('http://metadata.test', 'metadata.test'), 'taken')
  t.equal(await checked('http://metadata.google.internal', 'metadata.google.internal'), 'taken')
  t.equal(await checked('http://169.254.10.5:7860', '169.254.10.5:7860'), 'taken')
  t.match(await checked('http://169.254.10.5:80', '169.254.10.5:7860'), /add 169\.254\.10\.5 to the setting SERVERS_ALLOW/)
  t.match(await checked('http://metadata.test', '10.0.0.0/8'), /metadata\.test is at 169\.254\.169\.254.*add metadata\.test/)
  t.throws(() => parseSettings({ SERVERS_ALLOW: '10.0.0.0/33' }), { message: /SERVERS_ALLOW .* must be a network or a name/ })
})

t.test('a name is checked again at each call, and leads only to the checked address', async t => {
  const reach = createServerReach([], lookUp)
  t.same(await reach.resolve({ host: 'gpu.local', port: 7860 }), [{ address: '192.168.1.20', family: 4 }])
  await t.rejects(reach.resolve({ host: 'metadata.test', port: 80 }), { name: 'AddressNotAllowed' })
})

t.test('no route and no setting registers such a server; an existing one stays, and says why it is unusable', async t => {
  const service = await startService(t, { servers: { Before: 'http://169.254.169.254:7860' }, worker: 'none' })
  const request = async (method: string, path: string, body: object) => await service.request(method, `/api/v1/servers${path}`, body)
  for (const body of [{ apiUrl: 'http://169.254.169.254' }, { apiUrl: 'http://[::ffff:169.254.169.254]' }]) {
    t.match(await request('POST', '', { alias: 'New', ...body }),
      { status: 400, body: { error: 'invalid_field_value', message: /SERVERS_ALLOW/, details: { field: 'apiUrl' } } })
  }
  t.match(await request('POST', '', { alias: 'New', host: '169.254.169.254', port: 80 }), { status: 400, body: { details: { field: 'host' } } })
  t.match(await request('POST', '', { alias: 'New', apiUrl: service.simulator.url }), { status: 201 })
  t.match(await request('PUT', '/New', { host: '169.254.169.254' }), { status: 400, body: { details: { field: 'host' } } })
  t.match(await request('PUT', '/New', { apiUrl: 'http://2852039166/' }), { status: 400, body: { details: { field: 'apiUrl' } } })
  t.match(await request('PUT', '/Before', { description: 'stays' }), { status: 200, body: { server: { description: 'stays' } } })
  t.match((await request('POST', '/Before/test', {})).body, { reachable: false, message: /SERVERS_ALLOW/, server: { last_error: /SERVERS_ALLOW/ } })

  const { registry, config, reach } = service.services
  const settings = { ...config, SERVERS: ['Before=http://169.254.169.254:7860'] }
  await registerFromSettings(registry, settings, reach)
  await t.rejects(registerFromSettings(registry, { ...config, SERVERS: ['Other=http://169.254.169.254:7860'] }, reach),
    { message: /SERVERS_ALLOW/, details: { field: 'SERVERS (Other)' } })
  t.equal(registry.byAlias('Other'), undefined)
})

t.test('with the setting such a server works', async t => {
  const service = await startService(t, {
    servers: { Link: 'http://169.254.169.254:9' }, settings: { SERVERS_ALLOW: '169.254.169.254' }
  })
  const state = await onNotices(service.services, async () => {
    const { body } = await service.request('GET', '/api/v1/servers/Link')
    return body.last_error === null ? undefined : body
  })
  t.notMatch(state.last_error, /SERVERS_ALLOW/)
})
