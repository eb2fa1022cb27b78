import t, { type Test } from 'tap'
import { text } from 'node:stream/consumers'
import type { Transform } from 'node:stream'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { inRepository } from './root.ts'

interface File { readonly name: string, readonly path: string, readonly isAlone: boolean }

// Plain JavaScript, because `npm test` uses it without a compiler.
const load = async (name: string) => await import(pathToFileURL(inRepository(name)).href) as unknown
const { runFiles } = await load('test/processes.mjs') as {
  runFiles: (
    files: readonly File[], processes: number, env: NodeJS.ProcessEnv, reporter: Transform,
    limits: { timeout: number, endTimeout: number }
  ) => Promise<void>
}
const { default: Reporter } = await load('test/reporter.mjs') as { default: new (environment: object) => Transform }

const fine = "t.test('fine', async t => { t.ok(true) })"

/** The report of a run in one process at a time. */
async function report (folder: string, names: readonly string[], alone: readonly string[] = []): Promise<string> {
  const reporter = new Reporter({})
  const printed = text(reporter)
  const files = names.map(name => ({ name, path: join(folder, `${name}.mjs`), isAlone: alone.includes(name) }))
  await runFiles(files, 1, process.env, reporter, { timeout: 3000, endTimeout: 500 })
  return (await printed).trimEnd()
}

/** Test files as the bundle makes them. */
function folderOf (t: Test, files: Readonly<Record<string, string>>): string {
  const begin = "const t = globalThis[Symbol.for('stablequeue.test')]\n"
  return t.testdir(Object.fromEntries(Object.entries(files).map(([name, content]) => [`${name}.mjs`, begin + content])))
}

t.test('files of one process have tests and teardowns of their own', async t => {
  const folder = folderOf(t, {
    first: "globalThis.open = true\nt.teardown(() => { globalThis.open = false })\nt.test('open', async t => { t.ok(globalThis.open) })",
    second: "t.test('closed', async t => { t.equal(globalThis.open, false) })\nt.test('wrong', async t => { t.equal(1, 2) })"
  })
  const printed = await report(folder, ['first', 'second'])
  t.match(printed, /^ok first \(1 test, /)
  t.match(printed, /failed: second > wrong > should be equal/)
  t.match(printed, /FAILED second \(2 tests, [\s\S]*\n2 passed, 1 failed$/)
})

t.test('a file that needs a process of its own shares none', async t => {
  const folder = folderOf(t, {
    first: `globalThis.loaded = true\n${fine}`,
    alone: "t.test('alone', async t => { t.equal(globalThis.loaded, undefined); globalThis.loaded = true })",
    last: "t.test('not alone', async t => { t.equal(globalThis.loaded, true) })"
  })
  t.match(await report(folder, ['first', 'alone', 'last'], ['alone']), /3 passed, 0 failed$/)
})

t.test('after a file that ends its process the others run in a new one', async t => {
  const folder = folderOf(t, { ends: `${fine}\nt.test('ends', async () => { process.exit(3) })`, next: fine })
  const printed = await report(folder, ['ends', 'next'])
  t.match(printed, /failed: ends > ends > test unfinished/)
  t.match(printed, /The process ended during this file/)
  t.match(printed, /ok next \(1 test, /)
})

t.test('an error outside every promise fails the test that runs', async t => {
  const wait = 'await new Promise(resolve => { setTimeout(resolve, 20) })'
  const folder = folderOf(t, {
    timer: `t.test('timer', async () => { setTimeout(() => { throw new Error('late') }); ${wait} })`,
    promise: `t.test('promise', async () => { Promise.reject(new Error('unheard')); ${wait} })`
  })
  const printed = await report(folder, ['timer', 'promise'])
  t.match(printed, /failed: timer > late/)
  t.match(printed, /failed: promise > unheard/)
})

t.test('files that leave something open are named', async t => {
  const folder = folderOf(t, { open: `setInterval(() => {}, 1000)\n${fine}` })
  const printed = await report(folder, ['open'])
  t.match(printed, /failed: open\n[\s\S]*left something open/)
  t.match(printed, /1 passed, 1 failed$/)
})

t.test('a file that exceeds its time fails, and its process runs no other', async t => {
  const folder = folderOf(t, {
    stuck: "globalThis.isStuck = true\nt.test('stuck', async () => { await new Promise(() => setInterval(() => {}, 1000)) })",
    next: "t.test('next', async t => { t.equal(globalThis.isStuck, undefined) })"
  })
  const printed = await report(folder, ['stuck', 'next'])
  t.match(printed, /failed: stuck > stuck > timeout!/)
  t.match(printed, /ok next \(1 test, /)
})
