import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import t from 'tap'
import { createKeys, type Keys } from '../../src/lib/keys.ts'
import { runDoctor } from '../../src/main/doctor.ts'
import { claimHome, folderHome, foreignHome } from '../../src/media/home.ts'
import { dataFormat, requireKnownFormat } from '../../src/redis/check.ts'
import { silentLogger } from '../helper.ts'
import { startTestRedis } from '../redis.ts'

t.test('data of a newer version is refused with what to do', async t => {
  const server = await startTestRedis()
  t.teardown(server.stop)
  const redis = new Redis(server.url)
  t.teardown(() => { redis.disconnect() })
  const keys = createKeys('sq')
  await requireKnownFormat(redis, keys)
  t.equal(Number(await redis.get(keys.key('data-format'))), dataFormat)
  await requireKnownFormat(redis, keys)
  await redis.set(keys.key('data-format'), dataFormat + 1)
  await t.rejects(requireKnownFormat(redis, keys), /written by a newer version .*Start the newer version again/)
  t.equal(Number(await redis.get(keys.key('data-format'))), dataFormat + 1, 'and stays as it was')
})

t.test('a Redis belongs to one DATA_DIR', async t => {
  const server = await startTestRedis()
  t.teardown(server.stop)
  const redis = new Redis(server.url)
  t.teardown(() => { redis.disconnect() })
  const keys = createKeys('sq')
  /** A process that starts and at once ends again; one that lives until `end`. */
  async function claimIn (
    redis: Redis, { keys, directory, adopt = false }: { keys: Keys, directory: string, adopt?: boolean }
  ): Promise<void> {
    await (await claimHome({ redis, keys, home: folderHome(directory), processId: 'p', adopt, log: silentLogger }))()
  }
  const claim = async (directory: string, prefix = keys) =>
    await claimIn(redis, { keys: prefix, directory })
  const parent = t.testdir({ first: {}, other: {} })
  const [first, other] = [join(parent, 'first'), join(parent, 'other')]

  await t.test('the first one, which every process can use', async t => {
    await Promise.all([claim(first), claim(first)])
    await claim(first)
    t.equal((await readFile(join(first, 'data-id'), 'utf8')).trim(), await redis.get(keys.key('data-id')))
  })

  await t.test('a process that starts while another one marks a new folder starts, too', async t => {
    const data = { keys: createKeys('new'), directory: t.testdir({}) }
    // The other one is done between the first question to Redis and its answer.
    const late = Object.assign(Object.create(redis) as Redis, {
      async get (key: string) {
        await claimIn(redis, data)
        return await redis.get(key)
      }
    })
    await claimIn(late, data)
    t.equal(await redis.get(data.keys.key('data-id')), (await readFile(join(data.directory, 'data-id'), 'utf8')).trim())
  })

  await t.test('another one is refused, and stays as it was', async t => {
    await t.rejects(claim(other), { message: new RegExp(`DATA_DIR is ${other}, .*set MEDIA_URL .*--adopt-data-dir`) })
    await t.rejects(readFile(join(other, 'data-id')), { code: 'ENOENT' })
    await writeFile(join(other, 'data-id'), 'its own\n')
    await t.rejects(claim(other), /not the folder that belongs/)
    await claim(first)
    await claim(other, createKeys('another'))
  })

  await t.test('the doctor says so as well', async t => {
    let report = ''
    const code = await runDoctor({ REDIS_URL: server.url, REDIS_SERVER: '', DATA_DIR: other }, {
      servers: [], probeServer: async () => '', print: text => { report = text }
    }, 'text')
    t.equal(code, 1)
    t.match(report, /problem +data directory: DATA_DIR is .*missing there\n +Give every process .*--adopt-data-dir\./)
  })

  await t.test('a folder with the same mark is the same', async () => {
    await writeFile(join(other, 'data-id'), `${await redis.get(keys.key('data-id'))}\n`)
    await claim(other)
    await claim(first)
  })

  await t.test('a Redis without a mark, such as one of an earlier version or an emptied one, takes the mark of the folder', async t => {
    await redis.flushall()
    await claim(first)
    await rm(join(other, 'data-id'))
    await t.rejects(claim(other), /not the folder/)
    await redis.flushall()
    await Promise.allSettled([claim(first), claim(other)])
    const foreign = await Promise.all([first, other].map(async directory =>
      await foreignHome({ redis, keys, home: folderHome(directory) })))
    t.equal(foreign.filter(reason => reason === null).length, 1, 'of two at once, one')
  })

  await t.test('an operator says yes once, and not while a process lives that uses the former folder', async t => {
    await redis.flushall()
    await claim(first)
    const living = await claimHome({ redis, keys, home: folderHome(first), processId: 'q', adopt: false, log: silentLogger })
    await t.rejects(claimIn(redis, { keys, directory: other, adopt: true }), /process \d+ on \S+ uses another place .*Stop it/)
    await living()
    await claimIn(redis, { keys, directory: other, adopt: true })
    await claim(other)
    await t.rejects(claim(first), /not the folder/)
    await claimIn(redis, { keys, directory: other, adopt: true })
  })

  await t.test('a folder that cannot be written is no reason not to start', async t => {
    await redis.flushall()
    await writeFile(join(parent, 'file'), '')
    await t.resolves(claim(join(parent, 'file')))
  })
})
