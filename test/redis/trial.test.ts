import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { runDoctor } from '../../src/main/doctor.ts'
import { parseSettings } from '../../src/config/parse.ts'
import { openServices } from '../../src/services/services.ts'
import { startTestRedis, type TestRedis } from '../redis.ts'
import { freePort } from '../support/free-port.ts'

async function open (t: Test, parameters: readonly string[] = []): Promise<{ redis: TestRedis, admin: Redis }> {
  const redis = await startTestRedis({ parameters })
  t.teardown(redis.stop)
  const admin = new Redis(redis.url)
  t.teardown(() => { admin.disconnect() })
  return { redis, admin }
}

/** The report of `doctor` about a Redis, and the error of a service that starts on it. */
async function examine (t: Test, url: string, settings: Readonly<Record<string, string>> = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'sq-trial-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const config = parseSettings({ REDIS_URL: url, DATA_DIR: folder, ...settings })
  let report = ''
  const code = await runDoctor(config, {
    servers: [{ alias: 'Main', url: 'http://good' }], probeServer: async () => 'A1111', print: text => { report = text }
  }, 'text')
  const lines: string[] = []
  const log = pino({ level: 'error' }, { write (line: string) { lines.push(line) } })
  const started = await openServices(config, url, log).then(async services => {
    await services.close()
    return 'started'
  }, (error: Error) => error.message)
  return { code, report, started, logged: lines.join('') }
}

t.test('the doctor and the start name a replica, a node of a cluster and a user without rights', async t => {
  await t.test('a replica', async t => {
    const { redis, admin } = await open(t)
    await admin.replicaof('192.0.2.1', 6379)
    const { code, report, started } = await examine(t, redis.url)
    for (const text of [report, started]) t.match(text, /REDIS_URL names a replica[^]*its master, 192\.0\.2\.1:6379/)
    t.equal(code, 1)
  })
  await t.test('a node of a cluster', async t => {
    const { redis } = await open(t, ['--cluster-enabled', 'yes'])
    const { code, report, started } = await examine(t, redis.url)
    for (const text of [report, started]) t.match(text, /REDIS_URL names a node of a Redis Cluster/)
    t.equal(code, 1)
  })
  await t.test('the node of a cluster of three that holds our keys today', async t => {
    const nodes = []
    for (let count = 0; count < 3; count++) {
      // Nodes talk to each other on the port 10,000 further up.
      const port = String(await freePort(10_000))
      const { redis, admin } = await open(t, ['--cluster-enabled', 'yes', '--bind', '127.0.0.1', '--port', port])
      await admin.call('CLUSTER', 'ADDSLOTSRANGE', ...[['0', '5460'], ['5461', '10922'], ['10923', '16383']][count] ?? [])
      await admin.call('CLUSTER', 'SET-CONFIG-EPOCH', String(count + 1))
      nodes.push({ redis, admin, port })
    }
    const [first] = nodes
    for (const { port } of nodes.slice(1)) await first?.admin.call('CLUSTER', 'MEET', '127.0.0.1', port)
    for (const { admin } of nodes) {
      while (!/cluster_state:ok[^]*cluster_size:3/.test(String(await admin.cluster('INFO')))) {
        await new Promise(resolve => { setTimeout(resolve, 10) })
      }
    }
    for (const { redis } of nodes) {
      const { code, report, started } = await examine(t, redis.url)
      for (const text of [report, started]) t.match(text, /node of a Redis Cluster[^]*without cluster mode; with Sentinels/)
      t.equal(code, 1)
    }
  })
  await t.test('a user without our keys, channels or commands', async t => {
    const { redis, admin } = await open(t)
    const path = new URL(redis.url).searchParams.get('path') ?? ''
    const url = `unix://app:secret@${path}`
    for (const [rules, pattern] of [
      [['~other:*', '&*', '+@all'], /has no right to use SET on keys \{sq\}:\*/],
      [['~{sq}:*', 'resetchannels', '+@all'], /has no right to use PUBLISH on channels \{sq\}:\*/],
      [['~{sq}:*', '&*', '+@all', '-@stream'], /has no right to use XADD on keys/]
    ] as const) {
      await admin.acl('SETUSER', 'app', 'reset', 'on', '>secret', ...rules)
      const { code, report, started } = await examine(t, url)
      for (const text of [report, started]) t.match(text, pattern)
      t.match(report, /ACL SETUSER <name> ~\{sq\}:\* &\{sq\}:\* \+@all[^]*REDIS_PREFIX/)
      t.notMatch(report + started, 'secret')
      t.equal(code, 1)
    }
    await admin.acl('SETUSER', 'app', 'reset', 'on', '>secret', '~{mine}:*', '&{mine}:*', '+@all')
    t.match(await examine(t, url, { REDIS_PREFIX: 'mine' }), { started: 'started' }, 'the right prefix is enough')
  })
  await t.test('a Redis that rejects writes for the moment', async t => {
    const { redis, admin } = await open(t)
    await admin.config('SET', 'min-replicas-to-write', '1')
    const { code, report, logged } = await examine(t, redis.url)
    for (const text of [report, logged]) t.match(text, /SET is rejected: Redis has fewer replicas than it needs/)
    t.equal(code, 1)
  })
})
