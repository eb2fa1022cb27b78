import t from 'tap'
import { createClaimer, type ClaimerDependencies } from '../../src/jobs/claimer.ts'
import type { ClaimAnswer, JobClaims, Unclaim } from '../../src/jobs/claims.ts'
import type { Job } from '../../src/jobs/job.ts'
import type { Server } from '../../src/servers/registry.ts'
import { silentLogger } from '../helper.ts'

const server = { id: 'one', alias: 'Main', enabled: true, paused: false } as Server
const job = { id: 'job', run: 1, submission: {} } as Job

/** A claimer, and what it asks of the pool. Each claim waits until the test answers it. */
function start (more: Partial<ClaimerDependencies> = {}) {
  const calls: string[] = []
  const begun: string[] = []
  const waiting: Array<(answer: ClaimAnswer) => void> = []
  const claims: Partial<JobClaims> = {
    async claim (_server, _fence, idle) {
      calls.push(idle ? 'claim, idle' : 'claim')
      return await new Promise(resolve => { waiting.push(resolve) })
    },
    async noteClasses (_server, _fence, answers) { calls.push(`note ${JSON.stringify([...answers])}`) },
    async unclaim (_server, { fence }: Unclaim = {}) {
      calls.push(`unclaim under ${fence}`)
      return []
    }
  }
  const claimer = createClaimer({
    server: () => server,
    claims: claims as JobClaims,
    fence: 7,
    open: () => true,
    claimIn: () => 0,
    isIdle: () => true,
    facts: async () => ({ loaded: '', default: '', title: '', loadSeconds: 1, speed: 1 }),
    fleet: async () => ({ own: { server, state: null, inventory: null }, others: [] }),
    onExpected: () => {},
    onClaimed: ({ id, run }) => { begun.push(`${id}_${run}`) },
    log: silentLogger,
    ...more
  })
  /** Answers the next claim, and waits until the claimer has acted on it. */
  async function answer (given: ClaimAnswer): Promise<void> {
    while (waiting.length === 0) await settled()
    waiting.shift()?.(given)
    await settled()
  }
  return { claimer, calls, begun, answer }
}

const settled = async () => { await new Promise(resolve => { setImmediate(resolve) }) }

t.test('a claimed record is handed out once, and only for its run', async t => {
  const { claimer, begun, answer } = start()
  claimer.look()
  await answer({ kind: 'claimed', job, passedOver: 0 })
  t.same(begun, ['job_1'], 'it can begin without its queue entry')
  t.ok(claimer.hasMore())
  t.equal(claimer.record('job', 2), null)
  t.equal(claimer.record('job', 1), job)
  t.equal(claimer.record('job', 1), null)
})

t.test('a job is expected while it claims, if the last claim found one', async t => {
  const expected: string[] = []
  const { claimer, answer } = start({ onExpected: () => { expected.push('expected') } })
  const found = { kind: 'claimed', job, passedOver: 0 } as const
  for (const [kind, count] of [[{ kind: 'none', restMs: null }, 0], [found, 0], [{ kind: 'none', restMs: null }, 1]] as const) {
    claimer.look()
    await settled()
    t.equal(expected.length, count)
    await answer(kind)
    claimer.record(job.id, job.run)
    claimer.leave(job.id, job.run)
  }
  claimer.look()
  await settled()
  t.equal(expected.length, 1)
})

t.test('a job that a script gave to the idle server begins at once, unless it came already or was taken away', async t => {
  let open = true
  const { claimer, begun } = start({ open: () => open })
  claimer.given(job)
  t.equal(claimer.record('job', 1), job)
  claimer.given(job)
  t.equal(claimer.record('job', 1), null, 'a notice that arrives late')
  claimer.given({ ...job, run: 2 })
  t.match(claimer.record('job', 2), { run: 2 })
  claimer.taken('job_3')
  claimer.given({ ...job, run: 3 })
  t.equal(claimer.record('job', 3), null)
  open = false
  claimer.given({ ...job, run: 4 })
  t.equal(claimer.record('job', 4), null, 'the server takes no jobs now')
  t.same(begun, ['job_1', 'job_2'])
})

t.test('a server that is paused while it claims gives back what it got, and gets no job that arrives', async t => {
  for (const given of [{ kind: 'claimed', job, passedOver: 0 }, { kind: 'none', restMs: null }, { kind: 'ready' }] as const) {
    let open = true
    const { claimer, calls, begun, answer } = start({ open: () => open })
    claimer.look()
    await settled()
    open = false
    await claimer.giveBack()
    await answer(given)
    t.same(calls, ['claim, idle', 'unclaim under 7', 'unclaim under 7'], given.kind)
    t.equal(claimer.record('job', 1), null)
    t.same(begun, [])
  }
})

t.test('the pool gets to know whether the server can run a class, and is asked again', async t => {
  const needs = { target: 'one', checkpoint: null, lacking: [], failed: [], lenient: false }
  const { claimer, calls, answer } = start()
  claimer.look()
  await answer({
    kind: 'unknown',
    classes: [{ id: '-1', needs: JSON.stringify(needs) }, { id: '-2', needs: JSON.stringify({ ...needs, target: 'two' }) }]
  })
  await answer({ kind: 'none', restMs: null })
  t.same(calls, ['claim, idle', 'note [["-1",true],["-2",false]]', 'claim, idle'])
  t.notOk(claimer.hasMore())
})

t.test('several looks at once are one claim, and one more after it', async t => {
  const { claimer, calls, answer } = start()
  for (let count = 0; count < 5; count++) claimer.look()
  await answer({ kind: 'none', restMs: null })
  await answer({ kind: 'none', restMs: null })
  await settled()
  t.same(calls, ['claim, idle', 'claim, idle'])
})

t.test('a busy server claims only when it is about to be free', async t => {
  let free = 0.05
  const busy = start({ claimIn: () => 60, isIdle: () => false })
  busy.claimer.look()
  await settled()
  t.same(busy.calls, [])
  busy.claimer.close()
  const soon = start({ claimIn: () => free, isIdle: () => false })
  soon.claimer.look()
  free = 0
  await soon.answer({ kind: 'none', restMs: null })
  t.same(soon.calls, ['claim'])
})

t.test('a closed claimer asks for nothing', async t => {
  const { claimer, calls } = start()
  claimer.close()
  claimer.look()
  await claimer.forgetClasses()
  await settled()
  t.same(calls, [])
})

t.test('jobs that only others can run cause no claim, until the server is asked again', async t => {
  const { claimer, calls, answer } = start()
  const needs = JSON.stringify({ target: 'other', checkpoint: null, lacking: [], failed: [], lenient: false })
  claimer.entered('-other')
  await answer({ kind: 'unknown', classes: [{ id: '-other', needs }] })
  await answer({ kind: 'none', restMs: null })
  calls.length = 0
  claimer.entered('-other')
  await settled()
  t.same(calls, [])
  claimer.entered('-mine')
  await answer({ kind: 'none', restMs: null })
  t.same(calls, ['claim, idle'])
  await claimer.forgetClasses()
  await answer({ kind: 'none', restMs: null })
  calls.length = 0
  claimer.entered('-other')
  await settled()
  t.same(calls, ['claim, idle'])
})

t.test('a server looks again when a job that rests can be claimed', async t => {
  const { claimer, calls, answer } = start()
  claimer.look()
  await answer({ kind: 'none', restMs: 5 })
  await answer({ kind: 'none', restMs: null })
  t.same(calls, ['claim, idle', 'claim, idle'])
})

t.test('a job that waits here is reserved until it is taken away, or that could have gone unheard', async t => {
  const { claimer } = start()
  const isReserved = () => [claimer.isReserved('job', 1), claimer.isTaken('job', 1)]
  t.same(isReserved(), [false, false])
  claimer.record('job', 1)
  t.same(isReserved(), [true, false])
  claimer.taken('other_1')
  claimer.taken('job_2')
  t.same(isReserved(), [true, false], 'notices of other jobs and runs')
  claimer.doubt()
  t.same(isReserved(), [false, false], 'a notice can have been lost')
  claimer.record('job', 1)
  await claimer.giveBack()
  t.same(isReserved(), [false, false], 'this process gives it back')
  claimer.record('job', 1)
  claimer.taken('job_1')
  t.same(isReserved(), [false, true])
  t.ok(claimer.leave('job', 1))
  t.notOk(claimer.leave('job', 1))
  t.same(isReserved(), [false, true], 'a run that was taken away never comes back')
})

t.test('a notice that arrives before the answer to the claim counts as well', async t => {
  const { claimer, calls, answer } = start()
  claimer.look()
  await settled()
  claimer.taken('job_1')
  await answer({ kind: 'claimed', job, passedOver: 0 })
  t.equal(claimer.record('job', 1), null)
  t.same(calls, ['claim, idle', 'claim, idle'], 'it claims another one')
})

t.test('while a claimed job waits here, the pool is not asked; once it begins or is taken away, it is', async t => {
  const { claimer, calls, answer } = start()
  claimer.look()
  await answer({ kind: 'claimed', job, passedOver: 0 })
  claimer.look()
  claimer.record('job', 1)
  claimer.look()
  await settled()
  t.same(calls, ['claim, idle'])
  claimer.taken('job_1')
  await answer({ kind: 'none', restMs: null })
  t.same(calls, ['claim, idle', 'claim, idle'])
  claimer.record('job', 2)
  claimer.leave('job', 2)
  claimer.look()
  await answer({ kind: 'none', restMs: null })
  t.equal(calls.length, 3)
})
