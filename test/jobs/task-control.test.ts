import t from 'tap'
import type { A1111Client } from '../../src/a1111/client.ts'
import { createTaskControl, stopOpenTask, stopOrphanedTask } from '../../src/jobs/interrupt.ts'

/** A server that generates this task for ever; counts the interrupts that reach it. */
function generating () {
  let interrupts = 0
  const client = {
    progress: async () => ({ task: 'running', busy: true, etaSeconds: 60 }),
    interrupt: async () => { interrupts++ }
  } as unknown as A1111Client
  return { client, interrupts: () => interrupts }
}

const never = new AbortController().signal

t.test('a process that has lost the server interrupts nothing, and stops trying', async t => {
  const { client, interrupts } = generating()
  const control = createTaskControl(client, async () => false)
  await stopOpenTask(control, 'a', () => true, never)
  await stopOrphanedTask(control, 'a', { answer: 'unknown' }, never)
  t.equal(interrupts(), 0)
})

t.test('while Redis does not answer it waits; then it interrupts', async t => {
  const { client, interrupts } = generating()
  const answers: Array<() => boolean> = [() => { throw new Error('away') }, () => true, () => false]
  const asked: number[] = []
  const control = createTaskControl(client, async () => {
    asked.push(interrupts())
    return answers.shift()?.() ?? false
  })
  await stopOpenTask(control, 'a', () => true, never)
  t.same(asked, [0, 0, 1])
})

t.test('a generation that ends during the check of the lease is not interrupted', async t => {
  const { client, interrupts } = generating()
  const over = new AbortController()
  const control = createTaskControl(client, async () => {
    over.abort()
    return true
  })
  await stopOpenTask(control, 'a', () => true, over.signal)
  t.equal(interrupts(), 0)
})

t.test('a generation that can be over once the lease is checked is not interrupted, as the next one would be', async t => {
  const interrupts: string[] = []
  const client = {
    progress: async () => ({ task: 'running', busy: true, etaSeconds: 0.6 }),
    interrupt: async () => { interrupts.push('sent') }
  } as unknown as A1111Client
  let checks = 0
  // The first look leaves 100 ms for the interrupt.
  const control = createTaskControl(client, async () => {
    await new Promise(resolve => setTimeout(resolve, checks === 0 ? 150 : 0))
    if (checks === 1) t.same(interrupts, [], 'too late')
    return ++checks < 3
  }, () => 1)
  await stopOpenTask(control, 'a', () => true, never)
  t.same(interrupts, ['sent'], 'in time')
})
