import hooks from 'node:async_hooks'
import { syncBuiltinESMExports } from 'node:module'
import { pathToFileURL } from 'node:url'
import { accountOf } from './account.mjs'

/**
 * A process that runs test files one after another, as its parent (`processes.mjs`) asks for them, so that the modules
 * of the service are loaded and compiled once. The bundle of the tests gives each file a `t` of its own (`ownTest` in
 * run.mjs), because tap itself knows only one for a process.
 */
const { default: t } = await loadTap()
/** The test of the running file. */
let running = t
/** Closes what several files share. */
const atEnd = globalThis[Symbol.for('stablequeue.at-end')] = []

const account = process.env.STABLEQUEUE_TEST_ACCOUNT && accountOf()

t.setTimeout(0)
// The parent is gone.
process.once('disconnect', () => process.exit(1))
// tap lets a process end in spite of its channel.
const waiting = setInterval(() => {}, 2 ** 30)
for (const event of ['uncaughtException', 'unhandledRejection']) process.on(event, error => running.threw(error))

process.on('message', async ({ name, path, timeout }) => {
  if (name === undefined) return end()
  const began = performance.now()
  account?.begin()
  await t.test(name, { timeout }, async file => {
    running = file
    globalThis[Symbol.for('stablequeue.test')] = file
    await import(pathToFileURL(path).href)
  })
  // A file that exceeded its time goes on, and would disturb the next one.
  process.send({ kind: 'ready', isStuck: performance.now() - began >= timeout, account: account?.end() })
})

process.send({ kind: 'ready' })

/**
 * tap follows every promise and timer, so that it knows the test of an uncaught error. That takes a tenth of the CPU of
 * all tests, and files run one at a time here, so the file is known without it.
 */
async function loadTap () {
  const { createHook } = hooks
  const none = { enable: () => none, disable: () => none }
  hooks.createHook = () => none
  syncBuiltinESMExports()
  const tap = await import('tap')
  hooks.createHook = createHook
  syncBuiltinESMExports()
  return tap
}

/** The process ends by itself unless a test left something open. */
async function end () {
  for (const close of atEnd) await close()
  process.removeAllListeners('disconnect')
  process.disconnect()
  clearInterval(waiting)
  t.end()
}
