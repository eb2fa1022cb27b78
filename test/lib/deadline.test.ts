import { execFile } from 'node:child_process'
import { getEventListeners } from 'node:events'
import { readFile } from 'node:fs/promises'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { anySignal, createDeadline, DeadlinePassed, withDeadline } from '../../src/lib/deadline.ts'
import { inRepository } from '../root.ts'

const listenersOf = (signal: AbortSignal) => getEventListeners(signal, 'abort').length

/** Waits for a signal during constant garbage collection; `never` if it has not fired long after its time. */
const collecting = /* js */ `
import { setTimeout as sleep } from 'node:timers/promises'
const gone = new AbortController()
const other = new AbortController()
async function fired (make) {
  const made = make()
  // Only a listener references the signal, as in most code that waits for one.
  const firing = new Promise(resolve => made.addEventListener('abort', () => { resolve(made.reason.name) }, { once: true }))
  return firing
}
const late = sleep(1000, 'never', { ref: false })
const collector = setInterval(() => { globalThis.gc() }, 5)
setTimeout(() => { other.abort(new DOMException('', 'AbortError')) }, 100)
const names = await Promise.all(makers.map(make => Promise.race([fired(make), late])))
clearInterval(collector)
console.log(JSON.stringify(names))
`

async function collected (makers: string): Promise<string[]> {
  const helper = pathToFileURL(inRepository('dist/src/lib/deadline.js'))
  const program = `
    import { anySignal, createDeadline, withDeadline } from '${helper}'
    const makers = [${makers}]
    ${collecting}`
  const { stdout } = await promisify(execFile)(process.execPath,
    ['--expose-gc', '--input-type=module', '--eval', program], { timeout: 60_000 })
  return JSON.parse(stdout) as string[]
}

t.test('deadlines work through garbage collections', async t => {
  const names = await collected(`
    () => createDeadline(100, gone.signal).signal,
    () => createDeadline(100).signal,
    () => createDeadline(60_000, gone.signal, other.signal).signal,
    () => anySignal(gone.signal, other.signal).signal,
    () => createDeadline(60_000, anySignal(gone.signal, createDeadline(100).signal).signal).signal
  `)
  t.same(names, ['TimeoutError', 'TimeoutError', 'AbortError', 'AbortError', 'TimeoutError'])
})

// Later versions of Node keep the signal.
if (process.version.startsWith('v20.')) {
  t.test('on Node 20 AbortSignal.any loses its signal', async t => {
    t.same(await collected('() => AbortSignal.any([gone.signal, AbortSignal.timeout(100)])'), ['never'])
  })
}

t.test('a deadline gives the reason of its end', async t => {
  const parent = new AbortController()
  const first = createDeadline(60_000, parent.signal, undefined)
  parent.abort(new Error('the caller left'))
  t.match(first.signal.reason, { message: 'the caller left' })
  t.equal(first.expired(), false)

  const second = createDeadline(60_000, parent.signal)
  t.equal(second.signal.aborted, true, 'a source that has fired already')
  t.match(second.signal.reason, { message: 'the caller left' })

  await withDeadline(1, [], async (signal, deadline) => {
    await new Promise(resolve => { signal.addEventListener('abort', resolve) })
    t.ok(signal.reason instanceof DeadlinePassed)
    t.match(signal.reason, { name: 'TimeoutError', message: 'It was not done within 0.001 s.' })
    t.equal(deadline.expired(), true)
  })
})

t.test('what ends while the process does not run is in time', async t => {
  const nobody = new Int32Array(new SharedArrayBuffer(4))
  const freeze = (milliseconds: number) => { Atomics.wait(nobody, 0, 0, milliseconds) }
  const before = (work: Promise<unknown>, signal: AbortSignal) => Promise.race([
    work.then(() => 'done'),
    new Promise(resolve => { signal.addEventListener('abort', () => { resolve('late') }) })
  ])
  for (const milliseconds of [100, 1500]) {
    const found = await withDeadline(milliseconds, [], async signal => {
      // Several calls one after the other, each of which returns to the event loop.
      const work = readFile(inRepository('package.json'))
      freeze(milliseconds + 600)
      return await before(work, signal)
    })
    t.equal(found, 'done', `${milliseconds} ms`)
  }
  const endless = await withDeadline(100, [], async signal => {
    const work = new Promise(() => {})
    freeze(700)
    return await before(work, signal)
  })
  t.equal(endless, 'late', 'it ends all the same')
})

t.test('no timer or listener stays behind', async t => {
  const parent = new AbortController()
  const signals: AbortSignal[] = []
  await t.rejects(withDeadline(60_000, [parent.signal], async signal => {
    signals.push(signal)
    t.equal(listenersOf(parent.signal), 1)
    throw new Error('the work failed')
  }), { message: 'the work failed' })
  t.equal(listenersOf(parent.signal), 0, 'when the work failed')

  const linked = anySignal(parent.signal, parent.signal)
  linked.clear()
  t.equal(listenersOf(parent.signal), 0, 'when it is cleared')
  parent.abort()
  t.equal(linked.signal.aborted, false, 'it does not fire afterwards')
  t.equal(signals[0]?.aborted, false)

  const other = new AbortController()
  const fired = anySignal(other.signal, new AbortController().signal)
  other.abort()
  t.equal(fired.signal.aborted, true)
  t.equal(listenersOf(other.signal), 0, 'when it has fired')
})

t.test('a deadline can be longer than the longest timer', async t => {
  for (const milliseconds of [2 ** 31, 60 * 86_400_000, Infinity]) {
    const far = createDeadline(milliseconds)
    await new Promise(resolve => { setTimeout(resolve, 5) })
    t.equal(far.signal.aborted, false, `${milliseconds} ms`)
    far.clear()
  }
})

t.test('a deadline of zero fires', async t => {
  const deadline = createDeadline(0)
  await new Promise(resolve => { deadline.signal.addEventListener('abort', resolve) })
  t.equal(deadline.expired(), true)
})
