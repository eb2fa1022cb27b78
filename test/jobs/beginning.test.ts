import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { Abandoned, createBeginning, type OpenGeneration } from '../../src/jobs/open-generation.ts'
import type { RunClaim, StartAnswer } from '../../src/jobs/store.ts'
import { silentLogger } from '../helper.ts'

const claim: RunClaim = { id: 'job', run: 1, serverId: 'one', owner: 'us' }

interface Situation extends Partial<Pick<RunClaim, 'id' | 'run'>> {
  readonly isSure?: boolean
  readonly isReserved?: boolean
}

/** A beginning whose note Redis has not answered yet. */
function start () {
  const asked: Array<{ answer (answer: StartAnswer): void, fail (error: Error): void }> = []
  const situation = { isSure: true, isReserved: true }
  const done: string[] = []
  const generation: Pick<OpenGeneration, 'stop' | 'disconnectSignal'> = {
    stop (why) { done.push(`stop: ${why}`) },
    disconnectSignal (why) { done.push(why instanceof Abandoned ? 'abandon' : 'disconnect') }
  }
  const begin = createBeginning({
    store: {
      start: async () => await new Promise((resolve, reject) => {
        asked.push({ answer: resolve, fail: reject })
      })
    },
    fence: 7,
    claimer: {
      isReserved: () => situation.isReserved,
      leave () {
        done.push('leaves the gate')
        return true
      }
    },
    isSure: () => situation.isSure,
    log: silentLogger
  })
  return {
    asked,
    done,
    async begin ({ isSure = true, isReserved = true, ...other }: Situation = {}) {
      Object.assign(situation, { isSure, isReserved })
      return await begin({ ...claim, ...other }, generation as OpenGeneration, () => { done.push('noted') })
    },
    /** Resolves when Redis is asked. */
    async noted (count = 1) {
      while (asked.length < count) await nextTurn()
    }
  }
}

/** Whether it waits for Redis before the request can be sent. */
async function waits (beginning: ReturnType<ReturnType<typeof start>['begin']>): Promise<boolean> {
  const first = await Promise.race([beginning, new Promise(resolve => { setImmediate(resolve, 'waits') })])
  return first === 'waits'
}

t.test('a claimed job begins beside the note of that', async t => {
  const { begin, asked, done, noted } = start()
  const { answer, confirmed } = await begin()
  t.equal(answer, 'started')
  t.same(done, ['leaves the gate'], 'the request goes first')
  await noted()
  asked[0]?.answer('started')
  t.equal(await confirmed, 'started')
  t.same(done, ['leaves the gate', 'noted'])
})

t.test('in any doubt, and if the job comes back, it waits for Redis', async t => {
  for (const situation of [{ isSure: false }, { isReserved: false }, { run: 2 }]) {
    for (const answer of ['started', 'superseded', 'lease_lost', 'closed'] as const) {
      const { begin, asked, done } = start()
      const beginning = begin(situation)
      t.ok(await waits(beginning))
      asked[0]?.answer(answer)
      t.same([(await beginning).answer, await (await beginning).confirmed], [answer, answer])
      t.same(done, ['leaves the gate', ...answer === 'started' ? ['noted'] : []], 'nothing is stopped')
    }
  }
})

t.test('a generation whose job was taken away meanwhile is interrupted', async t => {
  const { begin, asked, done, noted } = start()
  const { confirmed } = await begin()
  await noted()
  asked[0]?.answer('superseded')
  t.equal(await confirmed, 'superseded')
  t.same(done, ['leaves the gate', 'noted', 'stop: taken'])
})

t.test('after a pause its generation is interrupted, and the next time it waits for Redis', async t => {
  const { begin, asked, done, noted } = start()
  const { confirmed } = await begin()
  await noted()
  asked[0]?.answer('closed')
  t.equal(await confirmed, 'closed')
  t.same(done, ['leaves the gate', 'noted', 'stop: taken'])
  const again = begin()
  t.ok(await waits(again))
  asked[1]?.answer('started')
  await again
})

t.test('without the lease the server is left alone: its generations are another process\'s', async t => {
  const { begin, asked, done, noted } = start()
  const { confirmed } = await begin()
  await noted()
  asked[0]?.answer('lease_lost')
  t.equal(await confirmed, 'lease_lost')
  t.same(done, ['leaves the gate', 'noted', 'abandon'])
})

t.test('while Redis refuses to write, a job is sent once and not again', async t => {
  const { begin, asked, done, noted } = start()
  const { confirmed } = await begin()
  await noted()
  asked[0]?.fail(new Error('OOM command not allowed'))
  t.equal(await confirmed, 'unknown')
  t.same(done, ['leaves the gate', 'noted', 'stop: taken'])

  const second = begin()
  t.ok(await waits(second))
  asked[1]?.fail(new Error('OOM command not allowed'))
  await t.rejects(second)

  const third = begin()
  t.ok(await waits(third))
  asked[2]?.answer('started')
  await third
  t.notOk(await waits(begin()), 'it is as before')
})

t.test('a job that can have been sent without a note waits, although Redis accepts others again', async t => {
  const { begin, asked, noted } = start()
  const { confirmed } = await begin()
  await noted()
  asked[0]?.fail(new Error('OOM command not allowed'))
  await confirmed
  const other = begin({ id: 'other' })
  asked[1]?.answer('started')
  await other
  t.notOk(await waits(begin({ id: 'third' })))
  await noted(3)
  for (const answered of [3, 4]) {
    const again = begin()
    t.ok(await waits(again))
    asked[answered]?.fail(new Error('OOM command not allowed'))
    await t.rejects(again)
  }
})
