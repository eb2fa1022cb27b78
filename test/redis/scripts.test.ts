import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
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

t.test('a folder above provides external texts, and none is missing or included twice', async t => {
  const file = await luaFiles(t, {
    main: '--[[ Adds. ]]\n--- @include "other"\n--- @external "one"\nreturn one + other\n',
    other: '--- @external "one"\nlocal other = one + 1\n'
  })
  const main = loadScript<[], [], number>(file('main'), { one: 'local one = 2 -- $& $1 is no pattern' })
  t.equal(main.lua.match(/local one/g)?.length, 1)
  t.match(main.lua, '$& $1')
  t.equal(await main(look, [], []), 5)
  t.throws(() => loadScript(file('main'), { other: '' }), /other\.lua needs the external text "one"/)
})

t.test('other errors of a script reach the code that called it', async t => {
  const file = await luaFiles(t, { bad: "--[[ Fails. ]]\nreturn redis.call('INCR')\n" })
  await t.rejects(loadScript(file('bad'))(look, [], []), /Wrong number of args/)
})
