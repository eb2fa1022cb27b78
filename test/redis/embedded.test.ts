import { type ChildProcess, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, extname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { Log } from '../../src/lib/logging.ts'
import { lockDataDirectory, startEmbeddedRedis } from '../../src/redis/private/embedded.ts'
import { identify, isRunning, whenEnded } from '../../src/redis/private/process.ts'

/** A data directory with a short path, so that a socket fits; `t.testdir()` can be too deep. */
async function makeDirectory (t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'sq-data-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  return directory
}

const quiet = () => {}
const log: Log = { trace: quiet, debug: quiet, info: quiet, warn: quiet, error: quiet }

/** A StableQueue in a process of its own; resolves when it has printed a line that begins with one of the words. */
async function startProcess (
  t: Test, directory: string
): Promise<{ child: ChildProcess, line: string, log: string[] }> {
  const here = fileURLToPath(import.meta.url)
  const program = join(dirname(here), `embedded-process${extname(here)}`)
  const child = spawn(process.execPath, [...process.execArgv, program, directory], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => child.kill('SIGKILL'))
  const lines: string[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line)
    if (/^(ready|refused) /.test(line)) return { child, line, log: lines }
  }
  throw new Error(`It ended without a word: ${lines.join('\n')}`)
}

async function stopProcess (child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const ended = once(child, 'exit')
  child.kill(signal)
  await ended
}

function connect (t: Test, url: string): Redis {
  const redis = new Redis(url, { maxRetriesPerRequest: null, retryStrategy: () => 20 })
  redis.on('error', quiet)
  t.teardown(() => redis.disconnect())
  return redis
}

async function pidOf (redis: Redis): Promise<number> {
  return Number(/process_id:(\d+)/.exec(await redis.info('server'))?.[1])
}

t.test('a first start creates a Redis that keeps everything and that only this user can use', async t => {
  const directory = join(await makeDirectory(t), 'data')
  const embedded = await startEmbeddedRedis({ dataDirectory: directory, log })
  const redis = connect(t, embedded.url)
  const pid = await pidOf(redis)
  t.match(embedded.description, new RegExp(`^private Redis \\d.* at unix://.*redis\\.sock \\(process ${pid}\\)$`))
  const settings = Object.fromEntries(await Promise.all(
    ['appendonly', 'appendfsync', 'save', 'maxmemory-policy', 'port'].map(async name => {
      const reply = await redis.config('GET', name)
      return Array.isArray(reply) ? reply : [name, reply]
    })))
  t.strictSame(settings, {
    appendonly: 'yes', appendfsync: 'always', save: '', 'maxmemory-policy': 'noeviction', port: '0'
  })
  for (const name of ['redis/redis.conf', 'redis/server.json', 'lock']) {
    t.equal((await stat(join(directory, name))).mode & 0o777, 0o600, `${name} is for its owner only`)
  }
  t.equal((await stat(join(directory, 'redis/appendonlydir'))).mode & 0o777, 0o750, 'as every folder of DATA_DIR')
  const password = new URL(embedded.url).password
  t.notMatch(await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''), password, 'ps shows no password')
  const thirdParty = connect(t, embedded.url.replace(`:${password}@`, ''))
  await t.rejects(thirdParty.get('anything'), /NOAUTH/)

  await embedded.stop()
  t.notOk(isRunning(pid), 'it ends with the service')
  await t.rejects(stat(join(directory, 'lock')), { code: 'ENOENT' })
  await t.rejects(stat(join(directory, 'redis/server.json')), { code: 'ENOENT' })
})

t.test('written data is there after a stop and a start', async t => {
  const directory = await makeDirectory(t)
  for (const expected of ['1', '2', '3']) {
    const embedded = await startEmbeddedRedis({ dataDirectory: directory, log })
    const redis = connect(t, embedded.url)
    t.equal(String(await redis.incr('starts')), expected)
    redis.disconnect()
    await embedded.stop()
  }
})

t.test('a Redis that dies alone is started again at the same address, with its data', async t => {
  const lines = new EventEmitter()
  const record = (line: unknown) => { lines.emit(String(line).replace(/ private Redis .*\)/, '')) }
  const recording = { ...log, warn: record, info: record }
  const embedded = await startEmbeddedRedis({ dataDirectory: await makeDirectory(t), log: recording })
  t.teardown(embedded.stop)
  const redis = connect(t, embedded.url)
  for (const life of [1, 2]) {
    const noticed = Promise.all([once(lines, 'The stopped by itself; starting it again'), once(lines, 'Started the again')])
    await redis.set('life', life)
    const pid = await pidOf(redis)
    process.kill(pid, 'SIGKILL')
    await whenEnded(pid, AbortSignal.timeout(5000))
    t.equal(await redis.get('life'), String(life), 'the same client reads what it wrote')
    t.not(await pidOf(redis), pid)
    await noticed
  }
})

t.test('a Redis that outlives a killed service is adopted, not doubled, and then stopped with it', async t => {
  const directory = await makeDirectory(t)
  const first = await startProcess(t, directory)
  const url = first.line.replace('ready ', '')
  const redis = connect(t, url)
  await redis.set('survives', 'yes')
  const pid = await pidOf(redis)
  await stopProcess(first.child, 'SIGKILL')
  t.ok(isRunning(pid), 'Redis is still there')

  const second = await startProcess(t, directory)
  t.equal(second.line, first.line, 'same address, same password')
  t.match(second.log.join('\n'), /Adopted the private Redis/)
  t.equal(await pidOf(redis), pid, 'same process')
  t.equal(await redis.get('survives'), 'yes')

  const revived = new Promise(resolve => redis.once('close', resolve))
  process.kill(pid, 'SIGKILL')
  await revived
  t.equal(await redis.get('survives'), 'yes', 'an adopted Redis that dies is started again too')
  const last = await pidOf(redis)
  redis.disconnect()
  await stopProcess(second.child, 'SIGTERM')
  t.notOk(isRunning(last), 'nothing is left running')
})

t.test('a data directory in use is rejected, and the error names the process', async t => {
  const directory = await makeDirectory(t)
  const first = await startProcess(t, directory)
  const second = await startProcess(t, directory)
  t.match(second.line, new RegExp(`^refused DATA_DIR .* is in use by the StableQueue with process id ${first.child.pid}\\.`))
  await stopProcess(first.child, 'SIGTERM')
  const third = await startProcess(t, directory)
  t.match(third.line, /^ready /)
  await stopProcess(third.child, 'SIGTERM')
})

t.test('Ctrl-C in the terminal does not reach Redis before the service has ended', async t => {
  const embedded = await startEmbeddedRedis({ dataDirectory: await makeDirectory(t), log })
  t.teardown(embedded.stop)
  const pid = await pidOf(connect(t, embedded.url))
  const group = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ')[2]
  t.equal(Number(group), pid, 'it leads a process group of its own')
})

t.test('the lock of a process that is gone, or whose id another process has now, is taken over', async t => {
  const directory = await makeDirectory(t)
  const here = await lockDataDirectory(directory, log)
  const text = await readFile(join(directory, 'lock'), 'utf8')
  await t.rejects(lockDataDirectory(directory, log), { message: new RegExp(`process id ${process.pid}`) })
  await here.release()

  const holder = JSON.parse(text)
  const stale = [{ ...holder, pid: 2 ** 22 + 1 }, { ...holder, started: 'before the last boot' }]
  for (const content of [...stale.map(value => JSON.stringify(value)), 'not even JSON']) {
    await writeFile(join(directory, 'lock'), content)
    const taken = await lockDataDirectory(directory, log)
    await taken.release()
    await t.rejects(stat(join(directory, 'lock')), { code: 'ENOENT' })
  }
})

t.test('of many processes that find a stale lock at once exactly one gets it', async t => {
  const directory = t.testdir({ lock: JSON.stringify({ ...identify(process.pid), started: 'long ago', host: 'x' }) })
  await writeFile(join(directory, 'lock'), 'left behind')
  const attempts = await Promise.allSettled(Array.from({ length: 20 }, () => lockDataDirectory(directory, log)))
  const winners = attempts.filter(attempt => attempt.status === 'fulfilled')
  t.equal(winners.length, 1)
  await winners[0]?.value.release()
})

t.test('the lock of another host counts while it is renewed', async t => {
  const directory = await makeDirectory(t)
  const other = await lockDataDirectory(directory, log)
  const path = join(directory, 'lock')
  const text = JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), host: 'another-container' })
  await writeFile(path, text)
  await t.rejects(lockDataDirectory(directory, log), { message: /on another-container\. Stop that one/ })
  // Stops the renewal; it leaves a lock that belongs to another process.
  await other.release()
  t.equal(await readFile(path, 'utf8'), text)
  const taken = await lockDataDirectory(directory, log)
  await taken.release()
})

t.test('if the path is too long for a socket, Redis listens on loopback', async t => {
  const directory = join(await makeDirectory(t), 'x'.repeat(100))
  const embedded = await startEmbeddedRedis({ dataDirectory: directory, log })
  t.match(embedded.url, /^redis:\/\/:[0-9a-f]{64}@127\.0\.0\.1:\d+$/)
  const redis = connect(t, embedded.url)
  t.same(await redis.config('GET', 'bind'), ['bind', '127.0.0.1'])
  const pid = await pidOf(redis)
  process.kill(pid, 'SIGKILL')
  await whenEnded(pid, AbortSignal.timeout(5000))
  t.equal(await redis.ping(), 'PONG', 'it comes back on the same port')
  redis.disconnect()
  await embedded.stop()
})

t.test('a Redis that cannot start says why, and leaves the directory free', async t => {
  const directory = await makeDirectory(t)
  await mkdir(join(directory, 'redis'))
  await writeFile(join(directory, 'redis/appendonlydir'), 'not a folder')
  await t.rejects(startEmbeddedRedis({ dataDirectory: directory, log }), {
    message: /did not start \(.*its log ends: .*appendonlydir/
  })
  await t.rejects(startEmbeddedRedis({ dataDirectory: directory, program: 'no-such-redis', log }), {
    message: 'REDIS_SERVER is no-such-redis, but there is no such program.'
  })
  await t.rejects(stat(join(directory, 'lock')), { code: 'ENOENT' })
})
