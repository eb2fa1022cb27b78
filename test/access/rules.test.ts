import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { parseCredentials } from '../../src/access/credentials.ts'
import {
  administrator, anonymous, holdsAll, mayCancelJob, mayDo, maySeeJob, type Principal, defaultDropIn
} from '../../src/access/principal.ts'
import { ipPrefix } from '../../src/access/rate-limit.ts'
import { createEncryptor, loadMasterKey } from '../../src/access/secrets.ts'
import { adminTokenNotice, loadAdminToken, matchesToken } from '../../src/access/sessions.ts'
import {
  createHostRules, createTrustRules, headerValues, isAllowedHost, isTrustedByAddress
} from '../../src/access/trust.ts'
import { newMasterKey } from './door.ts'

const base64 = (text: string) => Buffer.from(text).toString('base64')

t.test('credentials are read from every form that clients send', async t => {
  const pair = { kind: 'pair', key: 'mk_1', secret: 'a:b' }
  const cases: Array<[Record<string, string>, object]> = [
    [{}, { kind: 'none' }],
    [{ 'x-api-key': 'mk_1', 'x-api-secret': 'a:b' }, { ...pair, via: 'headers' }],
    [{ authorization: `Bearer ${base64('mk_1:a:b')}` }, { ...pair, via: 'bearer' }],
    [{ authorization: `bEARER   ${base64('mk_1:a:b')}` }, { ...pair, via: 'bearer' }],
    [{ authorization: `Bearer ${base64('mk_1:a:b').replace(/=+$/, '')}` }, { ...pair, via: 'bearer' }],
    [{ authorization: `basic ${base64('mk_1:a:b')}` }, { ...pair, via: 'basic' }],
    [{ authorization: 'Bearer some-token' }, { kind: 'token', token: 'some-token' }],
    [{ authorization: 'Bearer mk_1:a:b' }, { kind: 'token', token: 'mk_1:a:b' }],
    [{ authorization: `Bearer ${base64('mk_1:a:b')}`, 'x-api-key': 'mk_1', 'x-api-secret': 'a:b' }, { ...pair, via: 'headers' }],
    [{ authorization: 'Bearer some-token', 'x-api-key': '', 'x-api-secret': '' }, { kind: 'token', token: 'some-token' }]
  ]
  for (const [headers, expected] of cases) t.strictSame(parseCredentials(headers), expected, JSON.stringify(headers))
})

t.test('credentials of an invalid form are rejected, and never cause an internal error', async t => {
  const cases: Array<[Record<string, string>, string]> = [
    [{ 'x-api-key': '', 'x-api-secret': '' }, 'authentication_required'],
    [{ 'x-api-key': '' }, 'authentication_required'],
    [{ 'x-api-key': 'mk_1' }, 'authentication_required'],
    [{ 'x-api-key': 'mk_1', 'x-api-secret': '' }, 'authentication_required'],
    [{ authorization: '' }, 'authentication_required'],
    [{ authorization: 'Bearer' }, 'authentication_required'],
    [{ authorization: 'Bearer   ' }, 'authentication_required'],
    [{ authorization: 'Digest username=x' }, 'authentication_required'],
    [{ authorization: 'Basic !!!' }, 'invalid_api_key'],
    [{ authorization: `Basic ${base64('no colon')}` }, 'invalid_api_key'],
    [{ authorization: `Bearer ${'x'.repeat(10_000)}` }, 'invalid_api_key'],
    [{ 'x-api-key': 'mk_1', 'x-api-secret': 'x'.repeat(10_000) }, 'invalid_api_key'],
    [{ 'x-api-key': 'mk_1', 'x-api-secret': 'a', authorization: `Bearer ${base64('mk_1:b')}` }, 'ambiguous_credentials'],
    [{ 'x-api-key': 'mk_1', 'x-api-secret': 'a', authorization: 'Bearer token' }, 'ambiguous_credentials']
  ]
  for (const [headers, code] of cases) {
    t.throws(() => parseCredentials(headers), { name: 'ServiceError', code }, JSON.stringify(headers).slice(0, 80))
  }
})

t.test('only addresses, localhost and configured names are ours', async t => {
  const rules = createHostRules({
    publicHosts: ['Queue.Example.', '.lan.example'], publicUrl: 'https://public.example/sq', listenerHost: 'box'
  })
  const ours = [
    'localhost', 'LOCALHOST:3000', 'localhost.', 'a.localhost:1', '127.0.0.1', '127.0.0.1:3000', '192.168.1.2:80',
    '[::1]', '[::1]:3000', '[2001:db8::1]:3000', 'queue.example', 'queue.example.:3000', 'a.lan.example',
    'public.example', 'box:3000'
  ]
  const foreign = [
    '', ' ', 'evil.example', '127.0.0.1.evil.example', 'localhost.evil.example', 'localhost@evil.example',
    'localhost,evil.example', 'evil.example/localhost', 'evillocalhost', 'lan.example', 'evil-lan.example',
    '::1', '[evil]', '[127.0.0.1]', '[::1', 'localhost:port', 'localhost:3000:1', '2130706433', '0x7f.1', '127.1',
    'sub.queue.example', 'localhost:123456', '-localhost', 'local host', 'localhost\t'
  ]
  for (const host of ours) t.ok(isAllowedHost(rules, [host]), `${host} is ours`)
  for (const host of foreign) t.notOk(isAllowedHost(rules, [host]), `${JSON.stringify(host)} is not ours`)
  t.notOk(isAllowedHost(rules, []), 'no Host is not ours')
  t.notOk(isAllowedHost(rules, ['localhost', 'localhost']), 'two Hosts are not ours')
  t.strictSame(headerValues(['Host', 'a', 'x', 'host', 'HOST', 'b'], 'host'), ['a', 'b'])
})

t.test('the settings decide which addresses are trusted', async t => {
  const settings = {
    HOST: '127.0.0.1', UI_AUTH: 'auto', UI_TRUSTED_CIDRS: [], TRUSTED_PROXIES: [], PUBLIC_HOSTS: [], PUBLIC_URL: ''
  } as const
  const container = { ...settings, HOST: '0.0.0.0', UI_AUTH: 'none', UI_TRUSTED_CIDRS: ['172.16.0.0/12', 'fd00::/8'] } as const
  const proxied = { ...container, TRUSTED_PROXIES: ['172.17.0.9'] } as const
  const named = { PUBLIC_HOSTS: ['queue.example'] } as const
  const forwarded = { 'x-forwarded-for': '172.17.0.2' }
  type Case = [Parameters<typeof createTrustRules>[0], string, Record<string, string>, boolean]
  const reachedAs = (hosts: string[], expected: boolean) =>
    hosts.map((host): Case => [settings, '127.0.0.1', { host }, expected])
  const called = (names: Array<Partial<Case[0]>>, expected: boolean) =>
    names.map((own): Case => [{ ...settings, ...own }, '127.0.0.1', {}, expected])
  const cases: Case[] = [
    [settings, '127.0.0.1', {}, true],
    [settings, '127.8.9.1', {}, true],
    [settings, '::1', {}, true],
    [settings, '::ffff:127.0.0.1', {}, true],
    [settings, '192.168.1.5', {}, false],
    [settings, '::ffff:192.168.1.5', {}, false],
    [settings, '', {}, false],
    [{ ...settings, HOST: 'localhost' }, '127.0.0.1', {}, true],
    [{ ...settings, HOST: '::1' }, '::1', {}, true],
    [{ ...settings, HOST: '0.0.0.0' }, '127.0.0.1', {}, false],
    [{ ...settings, HOST: '::' }, '127.0.0.1', {}, false],
    [{ ...settings, HOST: '192.168.1.2' }, '127.0.0.1', {}, false],
    [{ ...settings, UI_AUTH: 'token' }, '127.0.0.1', {}, false],
    ...reachedAs(
      ['localhost:3000', 'LOCALHOST.', 'app.localhost', '127.8.8.8', '[::1]', '[::1]:3000', '[::ffff:127.0.0.1]'], true),
    ...reachedAs(['queue.example', '192.168.1.2:3000', '0.0.0.0', '[2001:db8::1]', 'localhost.example', ''], false),
    ...called([
      { PUBLIC_HOSTS: ['localhost', '.localhost'] }, { PUBLIC_HOSTS: ['127.0.0.1'] },
      { PUBLIC_URL: 'http://localhost:3000' }, { PUBLIC_URL: 'http://[::1]:3000/queue' }
    ], true),
    ...called([
      named, { PUBLIC_HOSTS: ['localhost', '.lan'] }, { PUBLIC_HOSTS: ['192.168.1.2'] },
      { PUBLIC_URL: 'https://queue.example' }, { PUBLIC_URL: 'http://192.168.1.2:3000' }
    ], false),
    [container, '172.17.0.1', {}, true],
    [container, '::ffff:172.17.0.1', {}, true],
    [container, 'fd12::1', {}, true],
    [container, '127.0.0.1', {}, false],
    [container, '192.168.1.5', {}, false],
    [container, '172.17.0.1', forwarded, false],
    [{ ...container, ...named }, '172.17.0.1', {}, false],
    [{ ...container, PUBLIC_URL: 'https://queue.example' }, '172.17.0.1', {}, false],
    [proxied, '172.17.0.9', forwarded, true],
    [{ ...proxied, ...named }, '172.17.0.9', forwarded, true],
    [{ ...proxied, ...named }, '172.17.0.1', {}, true],
    [proxied, '172.17.0.8', forwarded, false],
    [proxied, '172.17.0.9', { 'x-real-ip': '172.17.0.2' }, false],
    [proxied, '172.17.0.9', { 'x-forwarded-for': '' }, false]
  ]
  for (const [given, peer, headers, expected] of cases) {
    const rules = createTrustRules(given)
    const client = headers['x-forwarded-for'] || peer
    const caller = { peer, client, headers: { host: '127.0.0.1:3000', ...headers }, httpVersion: '1.1' }
    t.equal(isTrustedByAddress(rules, caller), expected, `${JSON.stringify(given)}: ${peer} ${JSON.stringify(headers)}`)
  }
  t.notOk(isTrustedByAddress(createTrustRules(proxied), {
    peer: '172.17.0.9', client: '192.168.1.5', headers: { 'x-forwarded-for': '192.168.1.5' }, httpVersion: '1.1'
  }), 'a trusted proxy does not make a stranger trusted')
})

t.test('every sign of a client behind the peer withdraws trust', async t => {
  const settings = { UI_TRUSTED_CIDRS: ['127.0.0.0/8'], TRUSTED_PROXIES: [], PUBLIC_HOSTS: [], PUBLIC_URL: '' }
  for (const UI_AUTH of ['auto', 'none'] as const) {
    const rules = createTrustRules({ ...settings, HOST: '127.0.0.1', UI_AUTH })
    const trusts = (headers: Record<string, string>, httpVersion = '1.1') => isTrustedByAddress(rules, {
      peer: '127.0.0.1', client: '127.0.0.1', headers: { host: 'localhost', ...headers }, httpVersion
    })
    t.ok(trusts({ 'user-agent': 'curl', accept: '*/*', 'x-requested-with': 'ui', 'x-webhook-key': 'k', traceparent: 't' }))
    for (const name of [
      'forwarded', 'via', 'cdn-loop', 'x-forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto',
      'x-forwarded-server', 'x_forwarded_for', 'x-real-ip', 'x-original-forwarded-for', 'x-original-host', 'client-ip',
      'forwarded-for', 'x-realip', 'x-originating-ip', 'true-client-ip', 'x-client-ip', 'fastly-client-ip', 'x-cluster-client-ip', 'x-azure-clientip', 'cf-connecting-ip',
      'cf-ray', 'cf-visitor', 'x-envoy-external-address', 'x-amzn-trace-id'
    ]) {
      t.notOk(trusts({ [name]: '' }), name)
      t.notOk(trusts({ [name]: '127.0.0.1' }), `${name} of this machine`)
    }
    t.notOk(trusts({}, '1.0'), 'as nginx speaks to what is behind it')
  }
})

t.test('settings that reduce trust are named in the log', async t => {
  const settings = { HOST: '127.0.0.1', UI_TRUSTED_CIDRS: ['127.0.0.0/8'], TRUSTED_PROXIES: [], PUBLIC_HOSTS: [], PUBLIC_URL: '' }
  t.equal(createTrustRules({ ...settings, UI_AUTH: 'auto' }).restriction, null)
  t.match(createTrustRules({ ...settings, UI_AUTH: 'auto', PUBLIC_HOSTS: ['queue.example'] }).restriction,
    /^PUBLIC_HOSTS has queue\.example, .*admin token/)
  t.match(createTrustRules({ ...settings, UI_AUTH: 'none', PUBLIC_URL: 'https://queue.example' }).restriction,
    /^PUBLIC_URL is at queue\.example, .*TRUSTED_PROXIES/)
})

t.test('the error for an invalid network names the setting', async t => {
  const settings = { HOST: '0.0.0.0', UI_AUTH: 'none', TRUSTED_PROXIES: [], PUBLIC_HOSTS: [], PUBLIC_URL: '' } as const
  for (const wrong of ['localhost', '172.16.0.0/33', '172.16.0.0/', '172.16.0.0/-1', '172.16/12', '', '::1/129', 'a/8']) {
    t.throws(() => createTrustRules({ ...settings, UI_TRUSTED_CIDRS: [wrong] }), {
      name: 'SettingsError', message: `UI_TRUSTED_CIDRS has "${wrong}", but each must be a network such as 172.16.0.0/12`
    })
  }
})

t.test('rights follow from scopes, and jobs belong to the key that submitted them', async t => {
  const key = (keyId: string, ...scopes: Array<Principal['scopes'] extends ReadonlySet<infer S> ? S : never>): Principal =>
    ({ kind: 'key', keyId, rotations: 0, name: keyId, scopes: new Set(scopes), ratePerMinute: null, dropIn: defaultDropIn })
  const owner = key('a', 'jobs:read')
  t.ok(mayDo(owner, 'jobs:read'))
  t.notOk(mayDo(owner, 'jobs:read:all'))
  t.notOk(mayDo(owner, '*'))
  t.ok(mayDo(key('b', '*'), 'webhooks:private'))
  t.notOk(mayDo(anonymous, 'jobs:read'))
  t.ok(maySeeJob(owner, 'a'))
  t.notOk(maySeeJob(owner, 'b'))
  t.notOk(maySeeJob(owner, null), 'a job without a key is not everybody’s')
  t.notOk(maySeeJob(anonymous, null))
  t.ok(maySeeJob(key('b', 'jobs:read:all'), 'a'))
  t.notOk(mayCancelJob(key('b', 'jobs:read:all'), 'a'))
  t.ok(mayCancelJob(administrator('local'), null))
  t.ok(holdsAll(owner, ['jobs:read']))
  t.notOk(holdsAll(owner, ['jobs:read', 'jobs:write']))
})

t.test('a sealed secret opens only complete, at its place and under its key', async t => {
  const masterKey = newMasterKey()
  const encryptor = createEncryptor(masterKey)
  const sealed = encryptor.seal('pässword', 'server:1:password')
  t.equal(encryptor.open(sealed, 'server:1:password'), 'pässword')
  t.not(encryptor.seal('pässword', 'server:1:password'), sealed, 'equal secrets do not look equal')
  t.throws(() => encryptor.open(sealed, 'server:2:password'), /belongs to something else/)
  t.throws(() => createEncryptor(newMasterKey()).open(sealed, 'server:1:password'), /another master key/)
  t.throws(() => encryptor.open('pässword', 'server:1:password'), /not in the form/)

  const [version, keyId, body = ''] = sealed.split(':')
  const bytes = Buffer.from(body, 'base64url')
  for (let index = 0; index < bytes.length; index++) {
    const changed = Buffer.from(bytes)
    changed[index] = (changed[index] ?? 0) ^ 1
    t.throws(() => encryptor.open(`${version}:${keyId}:${changed.toString('base64url')}`, 'server:1:password'), /changed/)
  }
  for (const length of [0, 4, 12, 16, 27, 28, bytes.length - 1]) {
    const short = bytes.subarray(0, length).toString('base64url')
    t.throws(() => encryptor.open(`${version}:${keyId}:${short}`, 'server:1:password'), /changed|cut short/)
  }

  const rotated = createEncryptor({ current: newMasterKey().current, previous: masterKey.current })
  t.equal(rotated.open(sealed, 'server:1:password'), 'pässword', 'the former key still opens')
  t.ok(rotated.isOutdated(sealed))
  t.notOk(rotated.isOutdated(rotated.seal('x', 'y')))
})

t.test('the master key and the admin token are created once, for their owner only', async t => {
  const DATA_DIR = join(t.testdir(), 'not', 'there', 'yet')
  const settings = { DATA_DIR, MASTER_KEY: '', MASTER_KEY_PREVIOUS: '', ADMIN_TOKEN: '' }
  const together = await Promise.all(Array.from({ length: 8 }, async () => await loadMasterKey(settings)))
  t.equal(new Set(together.map(key => key.current.toString('hex'))).size, 1, 'starters at the same moment agree')
  t.equal((await stat(join(DATA_DIR, 'master.key'))).mode & 0o777, 0o600)

  const tokens = await Promise.all(Array.from({ length: 8 }, async () => await loadAdminToken(settings)))
  const made = tokens.filter(token => token.created)
  t.equal(made.length, 1, 'one of them made it')
  t.equal(new Set(tokens.map(({ token }) => token)).size, 1)
  t.equal((await readFile(join(DATA_DIR, 'admin-token'), 'utf8')).trim(), made[0]?.token)
  t.equal((await stat(join(DATA_DIR, 'admin-token'))).mode & 0o777, 0o600)

  const [first] = made
  if (first === undefined) return
  t.match(adminTokenNotice(first, 'http://h:1'), `http://h:1/#token=${first.token}`)
  const later = await loadAdminToken(settings)
  t.notMatch(adminTokenNotice(later, 'http://h:1'), first.token, 'it is shown only once')
  t.match(await loadAdminToken({ ...settings, ADMIN_TOKEN: 'given' }), { token: 'given', created: false })
})

t.test('processes with folders of their own and one master key have one admin token', async t => {
  const settings = (folder: string) => ({ DATA_DIR: join(t.testdir({ one: {}, other: {} }), folder), ADMIN_TOKEN: '' })
  const [one, other] = [settings('one'), settings('other')]
  const key = Buffer.alloc(32, 7)
  const { token } = await loadAdminToken(one, key)
  t.equal((await loadAdminToken(other, key)).token, token)
  t.notMatch(token, key.toString('base64url'))
  t.equal((await loadAdminToken(one)).token, token, 'the file has it from then on')
})

t.test('a master key can be hex or base64, and nothing else', async t => {
  const bytes = newMasterKey().current
  const settings = { DATA_DIR: t.testdir(), MASTER_KEY_PREVIOUS: bytes.toString('base64url') }
  for (const form of ['hex', 'base64', 'base64url'] as const) {
    const loaded = await loadMasterKey({ ...settings, MASTER_KEY: bytes.toString(form) })
    t.strictSame(loaded.current, bytes)
    t.strictSame(loaded.previous, bytes)
  }
  await t.rejects(loadMasterKey({ ...settings, MASTER_KEY: 'too short' }), /MASTER_KEY is \(hidden\).*32 bytes/)
})

t.test('a token matches only as a whole', async t => {
  t.ok(matchesToken(['one', 'two'], 'two'))
  t.notOk(matchesToken(['one', 'two'], 'tw'))
  t.notOk(matchesToken(['', 'two'], ''), 'an unset token lets nobody in')
})

t.test('addresses of one IPv6 network count as one', async t => {
  t.equal(ipPrefix('192.168.1.5'), '192.168.1.5')
  t.equal(ipPrefix('::ffff:192.168.1.5'), '192.168.1.5')
  t.equal(ipPrefix('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64')
  t.equal(ipPrefix('2001:0DB8:1:2::6'), '2001:db8:1:2::/64')
  t.equal(ipPrefix('2001:db8::6'), '2001:db8:0:0::/64')
  t.equal(ipPrefix('::1'), '0:0:0:0::/64')
  t.equal(ipPrefix('fe80::1%eth0'), 'fe80:0:0:0::/64')
})
