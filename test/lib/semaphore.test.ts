import t from 'tap'
import { createSemaphore } from '../../src/lib/semaphore.ts'

/** Lets all pending promises settle. */
const settled = () => new Promise(resolve => setImmediate(resolve))

t.test('each slot has one holder, and others follow in the order of their requests', async t => {
  const semaphore = createSemaphore(2)
  const entered: number[] = []
  const exits = [0, 1, 2, 3].map(async number => {
    const exit = await semaphore.enter()
    entered.push(number)
    return exit
  })
  await settled()
  t.same(entered, [0, 1])
  t.equal(semaphore.waiting(), 2)

  ;(await exits[1])?.()
  await settled()
  t.same(entered, [0, 1, 2])
  ;(await exits[0])?.()
  await settled()
  t.same(entered, [0, 1, 2, 3])
  t.equal(semaphore.waiting(), 0)
})

t.test('a slot is released once, however often its holder releases it', async t => {
  const semaphore = createSemaphore(1)
  const exit = await semaphore.enter()
  exit()
  exit()
  await semaphore.enter()
  const third = semaphore.enter()
  await settled()
  t.equal(semaphore.waiting(), 1)
  third.catch(() => {})
})

t.test('a released slot goes to the first that waits, not to the next request', async t => {
  const semaphore = createSemaphore(1)
  const order: string[] = []
  const exit = await semaphore.enter()
  const waiting = semaphore.run(async () => { order.push('waited') })
  exit()
  const late = semaphore.run(async () => { order.push('came late') })
  await Promise.all([waiting, late])
  t.same(order, ['waited', 'came late'])
})

t.test('failing work releases its slot', async t => {
  const semaphore = createSemaphore(1)
  await t.rejects(semaphore.run(async () => { throw new Error('broken') }), { message: 'broken' })
  t.equal(await semaphore.run(async () => 'next'), 'next')
})

t.test('a waiting request leaves the queue with the reason of its signal, and gets no slot later', async t => {
  const semaphore = createSemaphore(1)
  const exit = await semaphore.enter()
  const left = new AbortController()
  const impatient = semaphore.enter(left.signal)
  const patient = semaphore.run(async () => 'patient')
  left.abort(new Error('the caller left'))
  await t.rejects(impatient, { message: 'the caller left' })
  exit()
  t.equal(await patient, 'patient')
  await t.rejects(semaphore.run(async () => 'never', left.signal), { message: 'the caller left' })
  t.equal(await semaphore.run(async () => 'free again'), 'free again')
})
