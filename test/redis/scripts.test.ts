import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { createGenerationQueues, entryId } from '../../queues/generation-queue.ts'
import { createKeys } from '../../src/lib/keys.ts'
import { connectRedis } from '../../src/redis/connections.ts'
import { loadScript } from '../../src/redis/scripts.ts'
import { silentLogger } from '../helper.ts'
import { startTestRedis } from '../redis.ts'

const server = await startTestRedis()
t.teardown(server.stop)
const look = new Redis(server.url)
t.teardown(() => { look.disconnect() })

/** Writes Lua files and returns their addresses. */
async function luaFiles (t: Pick<Test, 'teardown'>, files: Readonly<Record<string, string>>) {
  const folder = await mkdtemp(join(tmpdir(), 'sq-lua-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, `${name}.lua`), text)
  return (name: string) => pathToFileURL(join(folder, `${name}.lua`))
}

const raise = `--[[
  Raises a counter.

  KEYS[1]  counter
  ARGV[1]  step
]]
return redis.call('INCRBY', KEYS[1], ARGV[1])
`

async function raiseOf (t: Pick<Test, 'teardown'>) {
  const file = await luaFiles(t, { raise })
  return loadScript<[counter: string], [step: number], number>(file('raise'))
}

/** The commands that Redis gets while a function runs. */
async function commandsOf (work: () => Promise<unknown>): Promise<Record<string, number>> {
  await look.config('RESETSTAT')
  await work()
  const lines = (await look.info('commandstats')).matchAll(/cmdstat_(eval|evalsha):calls=(\d+)/g)
  return Object.fromEntries([...lines].map(([, name = '', calls]) => [name, Number(calls)]))
}

t.test('Redis gets the text of a script once, after that only its SHA-1', async t => {
  const script = await raiseOf(t)
  await look.script('FLUSH')
  for (const kind of ['request', 'worker'] as const) {
    const redis = await connectRedis(server.url, kind, silentLogger)
    t.teardown(() => { redis.disconnect() })
    await look.del('counter')
    const first = await commandsOf(async () => { t.equal(await script(redis, ['counter'], [2]), 2) })
    t.same(first, kind === 'request' ? { evalsha: 1, eval: 1 } : { evalsha: 1 }, 'another connection needs no text')
    t.same(await commandsOf(async () => { t.equal(await script(redis, ['counter'], [3]), 5) }), { evalsha: 1 })
  }
})

t.test('a script runs once for each call, also if Redis forgets it between or during calls', async t => {
  const script = await raiseOf(t)
  for (const kind of ['request', 'worker'] as const) {
    const redis = await connectRedis(server.url, kind, silentLogger)
    t.teardown(() => { redis.disconnect() })
    await look.del('counter')
    for (let round = 1; round <= 5; round++) {
      const calls = Array.from({ length: 20 }, async () => await script(redis, ['counter'], [1]))
      await look.script('FLUSH')
      calls.push(...Array.from({ length: 20 }, async () => await script(redis, ['counter'], [1])))
      const answers = await Promise.all(calls)
      const expected = Array.from({ length: 40 }, (_, index) => (round - 1) * 40 + index + 1)
      t.same(answers.toSorted((one, other) => one - other), expected)
    }
  }
})

t.test('a script survives a restart of Redis', async t => {
  const own = await startTestRedis({ persistence: 'always' })
  t.teardown(own.stop)
  const script = await raiseOf(t)
  const redis = await connectRedis(own.url, 'worker', silentLogger)
  t.teardown(() => { redis.disconnect() })
  t.equal(await script(redis, ['counter'], [1]), 1)
  await own.kill()
  const waiting = script(redis, ['counter'], [1])
  await own.restart()
  t.equal(await waiting, 2)
})

t.test('in a transaction with a queue entry a script runs once, whatever Redis forgot', async t => {
  const script = await raiseOf(t)
  const redis = await connectRedis(server.url, 'request', silentLogger)
  const keys = createKeys('tx')
  const queues = createGenerationQueues({ connection: redis, keys, log: silentLogger })
  t.teardown(async () => {
    await queues.close()
    redis.disconnect()
  })
  await look.del('counter')
  let count = 0
  async function add (what: string) {
    const entry = { id: `job-${++count}`, run: 1, serverId: 'one', lane: 5 }
    t.equal(await queues.addWith(entry, script, ['counter'], [1]), count, what)
    t.ok(await queues.queue('one').getJob(entryId(entry)), 'the entry is there')
  }
  await add('the first time')
  t.same(await commandsOf(async () => { await add('again') }), { evalsha: 2 }, 'no text is sent')
  await look.script('FLUSH')
  await add('after Redis forgot all scripts')
  await look.script('FLUSH')
  await queues.add({ id: 'other', run: 1, serverId: 'one', lane: 5 })
  await add('after Redis forgot ours and got that of BullMQ back')
  await look.script('FLUSH')
  await script(redis, ['other-counter'], [1])
  await add('after Redis forgot that of BullMQ and got ours back')
  redis.disconnect(true)
  await new Promise(resolve => { redis.once('ready', resolve) })
  await add('over a new connection')
})

t.test('a script must get the keys and arguments that its header lists', async t => {
  const file = await luaFiles(t, {
    two: "--[[\n  KEYS[1]  one\n  KEYS[2]  other\n]]\nreturn redis.call('EXISTS', KEYS[1], KEYS[2])\n",
    more: '--[[\n  ARGV[1]     first\n  ARGV[2...]  others\n]]\nreturn #ARGV\n'
  })
  const two = loadScript<string[], number[], number>(file('two'))
  t.equal(await two(look, ['a', 'b'], []), 0)
  await t.rejects(two(look, ['a'], []), /two\.lua does not take 1 keys and 0 arguments/)
  await t.rejects(two(look, ['a', 'b'], [1]), /two\.lua does not take 2 keys and 1 arguments/)
  const more = loadScript<string[], number[], number>(file('more'))
  t.same(await Promise.all([more(look, [], [1]), more(look, [], [1, 2, 3])]), [1, 3])
  await t.rejects(more(look, [], []), /does not take/)
})

t.test('included files appear at the line that names them, each once', async t => {
  const file = await luaFiles(t, {
    main: '--[[ Adds. ]]\n--- @include "sum"\n--- @include "one"\nreturn sum(one, 2)\n',
    sum: '--- @include "one"\nlocal function sum (a, b) return a + b end\n',
    one: 'local one = 1\n',
    lost: '--[[ Nothing. ]]\n--- @include "gone"\n'
  })
  const main = loadScript<[], [], number>(file('main'))
  t.equal(main.lua.match(/local one/g)?.length, 1)
  t.equal(await main(look, [], []), 3)
  t.throws(() => loadScript(file('lost')), { code: 'ENOENT' })
})

t.test('other errors of a script reach the code that called it', async t => {
  const file = await luaFiles(t, { bad: "--[[ Fails. ]]\nreturn redis.call('INCR')\n" })
  await t.rejects(loadScript(file('bad'))(look, [], []), /Wrong number of args/)
})
