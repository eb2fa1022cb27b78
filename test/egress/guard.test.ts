import { createServer, type RequestListener } from 'node:http'
import { createServer as createTcpServer, type Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { parseSettings } from '../../src/config/parse.ts'
import { createEgressGuard, EgressRefusal, type EgressGuardDependencies } from '../../src/egress/guard.ts'
import { guardedPost } from '../../src/egress/requests.ts'
import { classOf } from '../../src/egress/address-classes.ts'
import { listen } from '../webhooks/receiver.ts'

const open = { profile: 'lan', allow: [] } as const
const closed = { profile: 'public', allow: [] } as const

function guardOf (more: Partial<EgressGuardDependencies> = {}) {
  return createEgressGuard({ settings: closed, places: () => [], ...more })
}

const post = (url: string, more: { deadline?: number, reach?: 'public' | 'private' } = {}) => ({
  url: new URL(url), reach: 'private' as const, headers: { 'content-type': 'application/json' }, body: Buffer.from('{}'), deadline: 3000, ...more
})

t.test('no notation of a private address passes, and nothing reaches the server', async t => {
  let connections = 0
  const victim = createServer((_request, response) => { response.end() }).on('connection', () => { connections++ })
  const port = await listen(t, victim)
  const hosts = [
    '127.0.0.1', '127.1', '127.0.1', '0x7f.1', '0x7f000001', '2130706433', '017700000001', '0177.0.0.1', '①②⑦.⓪.⓪.①',
    '%31%32%37.0.0.1', '127.0.0.1.', '0.0.0.0', '0', '[::]', '[::1]', '[0:0:0:0:0:0:0:1]', '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]', '[::7f00:1]', '[64:ff9b::7f00:1]', '[2002:7f00:1::]', '[fe80::1]', '[fd00::1]', '10.0.0.1',
    '192.168.1.1', '169.254.169.254', '[fd00:ec2::254]', '168.63.129.16', 'localhost', 'LOCALHOST', '100.100.100.200',
    '255.255.255.255'
  ]
  t.equal(hosts.length, 32)
  for (const host of hosts) {
    const guard = guardOf()
    const url = `http://${host}:${port}/`
    await t.rejects(guard.check(new URL(url), 'private'), EgressRefusal, `${host} at submission`)
    await t.rejects(guardedPost(guard, post(url)), EgressRefusal, `${host} when it is called`)
  }
  t.equal(connections, 0)
  const reached = await guardedPost(guardOf({ settings: open }), post(`http://127.0.0.1:${port}/`))
  t.equal(reached.status, 200, 'the server was there all the time')
  t.equal(connections, 1)
})

t.test('addresses are classified as in IANA\'s registries', async t => {
  const classes = {
    public: ['1.1.1.1', '8.8.8.8', '2606:4700:4700::1111', '::ffff:8.8.8.8', '172.15.255.255', '100.63.255.255'],
    private: ['10.1.2.3', '172.31.0.1', '192.168.0.1', '100.64.0.1', '127.9.9.9', '198.18.0.1', '192.0.2.1', '::1', 'fc00::1', '2001:db8::1', '::ffff:10.0.0.1', '64:ff9b::808:808'],
    forbidden: ['0.1.2.3', '169.254.1.1', '224.0.0.1', '240.0.0.1', '::', 'fe80::1%eth0', 'ff02::1', '::ffff:169.254.169.254', '192.0.0.192',
      '64:ff9b::a9fe:a9fe', '2002:a9fe:a9fe::1', '::a9fe:a9fe', '::ffff:0:a9fe:a9fe', 'no address', '']
  } as const
  for (const [expected, addresses] of Object.entries(classes)) {
    for (const address of addresses) t.equal(classOf(address), expected, address)
  }
})

t.test('a name that changes its address, or has a forbidden address among good ones, is rejected', async t => {
  let connections = 0
  const port = await listen(t, createServer().on('connection', () => { connections++ }))
  const answers = [['93.184.216.34'], ['127.0.0.1']]
  const guard = guardOf({ resolve: async () => (answers.shift() ?? ['127.0.0.1']).map(address => ({ address, family: 4 })) })
  await guard.check(new URL(`http://rebinding.test:${port}/`), 'private')
  await t.rejects(guardedPost(guard, post(`http://rebinding.test:${port}/`)), { name: 'EgressRefusal', message: /rebinding.test is at 127.0.0.1/ })
  const mixed = guardOf({
    resolve: async () => [{ address: '93.184.216.34', family: 4 }, { address: '::ffff:10.0.0.1', family: 6 }]
  })
  await t.rejects(guardedPost(mixed, post('http://mixed.test/')), EgressRefusal)
  t.equal(connections, 0)
})

t.test('settings open private networks to those with the right, but never our own or forbidden addresses', async t => {
  const port = await listen(t, createServer((_request, response) => { response.end() }))
  const url = `http://127.0.0.1:${port}/`
  const allowed = async (guard: ReturnType<typeof guardOf>, at = url, reach: 'public' | 'private' = 'private') =>
    await guard.check(new URL(at), reach).then(() => true, () => false)
  const listing = (...allow: string[]) => guardOf({ settings: { profile: 'public', allow } })
  t.ok(await allowed(listing('127.0.0.0/8')))
  t.ok(await allowed(listing(`127.0.0.1:${port}`)))
  t.ok(await allowed(listing('127.0.0.0/8'), `http://[::ffff:127.0.0.1]:${port}/`))
  t.ok(await allowed(listing('localhost'), `http://localhost:${port}/`))
  t.notOk(await allowed(listing('localhost')), 'the name is listed, not what it stands for')
  t.notOk(await allowed(listing('127.0.0.1:1')))
  t.notOk(await allowed(listing('127.0.0.0/8'), url, 'public'), 'a key without webhooks:private')
  t.notOk(await allowed(guardOf({ settings: open }), url, 'public'))
  t.notOk(await allowed(listing('0.0.0.0/0', '::/0'), 'http://169.254.169.254/'))
  t.notOk(await allowed(guardOf({ settings: { profile: 'strict', allow: [] } }), 'http://93.184.216.34/'))
  t.ok(await allowed(guardOf({ settings: { profile: 'strict', allow: ['93.184.216.0/24'] } }), 'http://93.184.216.34/'))

  const own = guardOf({ settings: { profile: 'lan', allow: ['0.0.0.0/0', '::/0'] }, places: () => [{ host: 'localhost', port }] })
  for (const host of ['127.0.0.1', '127.8.8.8', '[::1]', '[::ffff:127.0.0.1]', 'localhost']) {
    t.notOk(await allowed(own, `http://${host}:${port}/`), `${host} is where our own server listens`)
  }
  t.ok(await allowed(own, `http://127.0.0.1:${port + 1}/`))
  own.protectPort(port + 1)
  t.notOk(await allowed(own, `http://127.0.0.1:${port + 1}/`))
})

t.test('an entry that opens nothing is reported at start', async t => {
  for (const entry of ['10.0.0.0/33', '10.0.0/8', 'http://nas.local', 'nas local', '[::1', 'nas.local:port']) {
    t.throws(() => parseSettings({ EGRESS_ALLOW: entry }), { message: /EGRESS_ALLOW .* must be a network or a name/ }, entry)
  }
  t.ok(parseSettings({ EGRESS_ALLOW: '10.0.0.0/8, 10.1.2.3:80, nas.local, nas.local:5000, fd00::/8, [fd00::1]:80' }))
})

t.test('whatever a receiver does, an attempt ends in time, stays small, and does no harm', async t => {
  const guard = guardOf({ settings: open })
  const http = async (listener: RequestListener) => `http://127.0.0.1:${await listen(t, createServer(listener))}/`
  const tcp = async (talk: (socket: Socket) => void) =>
    `http://127.0.0.1:${await listen(t, createTcpServer(socket => { talk(socket) }))}/`
  const trickle = (socket: Socket, text: string) => {
    const timer = setInterval(() => { socket.write(text) }, 20)
    socket.once('close', () => { clearInterval(timer) })
  }
  const fail = async (url: string, wanted: RegExp) =>
    await t.rejects(guardedPost(guard, post(url, { deadline: 400 })), { message: wanted })

  await fail(await tcp(() => {}), /no answer within/)
  await fail(await tcp(socket => { trickle(socket, 'HTTP/1.1 103 Early Hints\r\n\r\n') }), /no answer within/)
  await fail(await tcp(socket => { socket.write('HTTP/1.1 200 OK\r\n'); trickle(socket, 'x: y\r\n') }), /./)
  await fail(await tcp(socket => { socket.once('data', () => { socket.resetAndDestroy() }) }), /ECONNRESET|closed/)
  await fail(await tcp(socket => { socket.end('this is no HTTP\r\n\r\n') }), /./)
  await fail(await tcp(socket => { socket.end(`HTTP/1.1 200 OK\r\nx: ${'a'.repeat(1_000_000)}\r\n\r\n`) }), /./)
  await fail(await tcp(socket => { socket.once('data', () => { socket.end() }) }), /./)
  await fail('http://127.0.0.1:1/', /ECONNREFUSED/)

  const stalled = await guardedPost(guard, post(await tcp(socket => {
    socket.once('data', () => { socket.write('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc') })
  }), { deadline: 400 }))
  t.match(stalled, { status: 200, address: '127.0.0.1' }, 'a status counts although the body never ends')
  t.equal(stalled.body.toString(), 'abc')

  const endless = await guardedPost(guard, post(await http((_request, response) => {
    response.writeHead(200)
    const more = () => { while (response.write(Buffer.alloc(65_536, 'x'))); }
    response.on('drain', more)
    more()
  })))
  t.equal(endless.body.length, 16_384)
  const bomb = gzipSync(Buffer.alloc(20_000_000))
  const packed = await guardedPost(guard, post(await http((_request, response) => {
    response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb)
  })))
  t.ok(packed.body.equals(bomb.subarray(0, 16_384)), 'nothing is unpacked')
  const broken = await guardedPost(guard, post(await tcp(socket => {
    socket.once('data', () => { socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc', () => { socket.resetAndDestroy() }) })
  })))
  t.equal(broken.status, 200)

  let elsewhere = 0
  const other = await tcp(() => { elsewhere++ })
  for (const status of [301, 302, 303, 307, 308]) {
    const redirected = await guardedPost(guard, post(await http((_request, response) => {
      response.writeHead(status, { location: other }).end()
    })))
    t.equal(redirected.status, status)
  }
  let calls = 0
  const loop = await http((_request, response) => { calls++; response.writeHead(302, { location: '/' }).end() })
  t.equal((await guardedPost(guard, post(loop))).status, 302)
  t.equal(calls, 1, 'one request to a redirect loop')
  t.equal(elsewhere, 0)
})

t.end()
