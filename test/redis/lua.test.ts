import { execFile } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { readLua } from '../../src/redis/scripts.ts'
import { inRepository } from '../root.ts'
import { checkLua } from './check-lua.ts'

const { include: folders } = JSON.parse(readFileSync(inRepository('tsconfig.build.json'), 'utf8')) as { include: string[] }
const files = folders.flatMap(folder => readdirSync(inRepository(folder), { recursive: true, encoding: 'utf8' })
  .map(name => join(folder, name)))
const luaFiles = files.filter(name => name.endsWith('.lua')).toSorted()
/** Where the external texts come from; BullMQ's scripts, which go into one of them, stand for nothing here. */
const externalFiles: Readonly<Record<string, string>> = { 'queue-entries': 'queues/scripts/queue-entries.lua' }
const bullScript = 'return KEYS, ARGV'
const externals = Object.fromEntries(Object.entries(externalFiles).map(([name, file]) => [name,
  readLua(addressOf(file), { addPrioritizedJob: bullScript, addDelayedJob: bullScript, removeJob: bullScript })]))
const included = new Set(luaFiles.flatMap(file => directlyIn(file)))
const scripts = luaFiles.filter(file => !included.has(file))

function textOf (file: string): string {
  return readFileSync(inRepository(file), 'utf8')
}

function addressOf (file: string): URL {
  return pathToFileURL(inRepository(file))
}

/** The files that a file itself includes. */
function directlyIn (file: string): string[] {
  return [...textOf(file).matchAll(/^--- @(include|external) "(.*)"$/gm)].flatMap(([, kind, name = '']) =>
    kind === 'include' ? `${join(dirname(file), name)}.lua` : externalFiles[name] ?? [])
}

/** Names that an included file itself declares. */
function namesOf (file: string): ReadonlySet<string> {
  return new Set(checkLua(textOf(file)).topLevel.keys())
}

/** Every file that another one includes. */
function includesOf (file: string): string[] {
  const names = directlyIn(file)
  return [...new Set(names.flatMap(name => [name, ...includesOf(name)]))]
}

t.test('every script is valid by itself and matches its header', t => {
  t.ok(scripts.length > 50)
  for (const file of scripts) {
    const shared = new Set(includesOf(file).flatMap(name => [...namesOf(name)]))
    t.same(checkLua(readLua(addressOf(file), externals), shared).problems, [], file)
  }
  t.end()
})

t.test('no script includes an unused file, and no shared code is unused', t => {
  const used = new Map<string, Set<string>>()
  for (const file of scripts) {
    const { topLevel } = checkLua(readLua(addressOf(file), externals))
    for (const name of includesOf(file)) {
      const found = [...namesOf(name)].filter(variable => (topLevel.get(variable) ?? 0) > 0)
      t.ok(found.length > 0, `${file} uses ${name}`)
      used.set(name, new Set([...used.get(name) ?? [], ...found]))
    }
  }
  for (const [name, found] of used) t.same([...namesOf(name)].filter(variable => !found.has(variable)), [], name)
  t.end()
})

t.test('every script is loaded by a module beside it, and no line is too long', t => {
  const modules = files.filter(name => name.endsWith('.ts'))
  for (const file of scripts) {
    const name = basename(file, '.lua')
    const near = modules.filter(module => [dirname(file), dirname(dirname(file))].includes(dirname(module)))
    t.ok(near.some(module => new RegExp(`[/'(]${name}(\\.lua)?'`).test(textOf(module))), `${file} is loaded`)
  }
  for (const file of luaFiles) {
    t.same(textOf(file).split('\n').filter(line => line.length > 120 || /\s$/.test(line)), [], file)
  }
  t.end()
})

t.test('the build contains every script', t => {
  for (const file of luaFiles) t.equal(readFileSync(inRepository('dist', file), 'utf8'), textOf(file), file)
  t.end()
})

t.test('a build copies scripts also if some folders are missing, as in the image of Docker', async t => {
  const root = t.testdir({
    'tsconfig.build.json': JSON.stringify({ include: ['src', 'bench'] }),
    src: { 'copy-lua.mjs': textOf('src/copy-lua.mjs'), jobs: { scripts: { 'one.lua': 'return 1' }, 'job.ts': '' } }
  })
  await promisify(execFile)(process.execPath, [join(root, 'src/copy-lua.mjs')])
  t.equal(readFileSync(join(root, 'dist/src/jobs/scripts/one.lua'), 'utf8'), 'return 1')
  t.same(readdirSync(join(root, 'dist/src/jobs')), ['scripts'])
})

t.test('the check finds errors in a script', t => {
  const header = '--[[\n  Does it.\n\n  KEYS[1]  one\n  ARGV[1]  first\n  ARGV[2...]  others\n\n  Answers 1\n]]\n'
  const good = `${header}for i = 2, #ARGV do redis.call('SADD', KEYS[1], ARGV[1], ARGV[i]) end\nreturn 1\n`
  t.same(checkLua(good).problems, [])
  t.same(checkLua(good.replace('return 1', 'local function f (ARGV) return ARGV[9], ARGV end\nreturn f(1)')).problems, [],
    'a parameter can have the name of the arguments')
  const wrong: ReadonlyArray<readonly [what: string, lua: string, problem: RegExp]> = [
    ['a global is read', good.replace('return 1', 'return count'), /count is not declared/],
    ['a global is set', good.replace('return 1', 'count = 1\nreturn 1'), /count is set but not declared/],
    ['a function is global', good.replace('return 1', 'function one () return 1 end\nreturn 1'), /function one is not local/],
    ['a local is not used', good.replace('return 1', 'local a, _ = 1, 2\nreturn 1'), /a is not used/],
    ['a parameter is not used', good.replace('return 1', 'local function f (a) return 1 end\nreturn f(1)'), /a is not used/],
    ['a local is declared twice', good.replace('return 1', 'local a = 1\nlocal a = a\nreturn a'), /a is declared twice/],
    ['a local is used out of its block', good.replace('return 1', 'do local a = 1 end\nreturn a'), /a is not declared/],
    ['there is no header', good.replace(header, ''), /does not begin with a comment/],
    ['it does not say what it does', good.replace('Does it.', ''), /does not say what/],
    ['a key is not listed', good.replace('return 1', "redis.call('DEL', KEYS[2])\nreturn 1"), /KEYS\[2\] is read but not listed/],
    ['an argument is not read', good.replace('ARGV[1], ', ''), /ARGV\[1\] is listed but not read/],
    ['further arguments are not read', good.replace('#ARGV', '3').replace('ARGV[i]', 'i'), /ARGV\[2\] is listed but not read/],
    ['further arguments are not listed', good.replace('[2...]', '[2]'), /any number of ARGV is read but not listed/],
    ['arguments are listed out of order', good.replace('ARGV[1]  first', 'ARGV[2]  first'), /ARGV are not listed in order/],
    ['too much is unpacked', good.replace('KEYS[1],', 'unpack(KEYS),'), /any number of KEYS is read but not listed/],
    ['an argument is not named', good.replace('return 1', 'local a, b = unpack(KEYS)\nreturn a .. b'), /KEYS\[2\] is read/],
    ['answers are not listed', good.replace('  Answers 1\n', ''), /lists no answers/],
    ['there are no answers', good.replace('return 1\n', ''), /the header lists answers/],
    ['all arguments are handed on', good.replace('return 1', 'return cjson.encode(ARGV)'), /ARGV is handed on whole/]
  ]
  for (const [what, lua, problem] of wrong) t.match(checkLua(lua).problems, [problem], what)
  t.throws(() => checkLua(`${header}return 1 2`), SyntaxError)
  t.end()
})
