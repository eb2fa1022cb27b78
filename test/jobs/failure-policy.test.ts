import t from 'tap'
import { GenerationFailure, type FailureClass } from '../../src/a1111/types.ts'
import { decideAfter } from '../../src/jobs/failure-policy.ts'
import type { Job, JobAttempt } from '../../src/jobs/job.ts'

const limits = { attempts: 3, backoffSeconds: 2, random: () => 0.5 }
const submission = { parameters: { width: 1024, height: 1024, batch_size: 1 } } as unknown as Job['submission']
const fresh = { usedAttempts: 0, crashes: 0, attempts: [], submission }

const failure = (failureClass: FailureClass, code: string, mayBeRunning = false) =>
  new GenerationFailure(failureClass, code, 'what happened', { mayBeRunning })

const ranOut = (server: string): JobAttempt => ({
  run: 1, server, startedAt: 0, endedAt: 1, error: { code: 'out_of_memory', message: '', failureClass: 'out-of-memory' }
})

const attempt = (code: string, server: string, message = 'what happened'): JobAttempt => ({
  run: 3, server, startedAt: 0, endedAt: 1, error: { code, message, failureClass: 'passing' }
})

/** A job that was sent as often as allowed is not sent again; neither is one that got the same error twice. */
const further = [
  ['a firewall', failure('blocked', 'forbidden'), fresh, { kind: 'give-back', usedAttempts: 1, elsewhere: true }],
  ['a firewall again', failure('blocked', 'forbidden'), { ...fresh, attempts: [attempt('forbidden', 'Main')] },
    { kind: 'fail', code: 'forbidden', elsewhere: true }],
  ['a firewall of another server', failure('blocked', 'forbidden'), { ...fresh, attempts: [attempt('forbidden', 'Other')] },
    { kind: 'give-back' }],
  ['an error again', failure('passing', 'server_error'), { ...fresh, attempts: [attempt('server_error', 'Main')] }, { kind: 'fail' }],
  ['an error of another server', failure('passing', 'server_error'), { ...fresh, attempts: [attempt('server_error', 'Other')] },
    { kind: 'fail' }],
  ['another error', failure('passing', 'server_error'), { ...fresh, attempts: [attempt('server_error', 'Main', 'else')] },
    { kind: 'give-back' }],
  ['an error of an earlier life', failure('passing', 'server_error'),
    { ...fresh, firstRun: 4, attempts: [attempt('server_error', 'Main')] }, { kind: 'give-back' }],
  ['answers that break off', failure('passing', 'truncated_answer'), { ...fresh, attempts: [attempt('truncated_answer', 'Main')] },
    { kind: 'give-back' }],
  ['memory at the last send', failure('out-of-memory', 'out_of_memory'), { ...fresh, sends: 2, deaths: 0 },
    { kind: 'fail', elsewhere: false, message: /Try/ }],
  ['the same after a death', failure('out-of-memory', 'out_of_memory'), { ...fresh, sends: 2, deaths: 1 }, { kind: 'give-back' }],
  ['a broken GPU process', failure('server-down', 'cuda_poisoned'), fresh, { kind: 'give-back', usedAttempts: 1, elsewhere: true }],
  ['one that another job has found broken', failure('server-down', 'cuda_poisoned'),
    { ...fresh, usedAttempts: 2, sends: 2, foundBroken: true }, { kind: 'give-back', usedAttempts: 0, elsewhere: true }],
  ['the same for the fourth time', failure('server-down', 'cuda_poisoned'),
    { ...fresh, foundBroken: true, attempts: [1, 2, 3].map(() => attempt('cuda_poisoned', 'Main')) },
    { kind: 'give-back', usedAttempts: 1 }],
  ['a missing checkpoint', failure('request', 'checkpoint_not_found'), fresh, { kind: 'fail', elsewhere: true }],
  ['a missing route', failure('request', 'server_capability'), fresh, { kind: 'fail', elsewhere: true }]
] as const

t.test('the cause of a failure decides how the job continues', async t => {
  const table = [
    ['the request', failure('request', 'validation'), fresh, { kind: 'fail', code: 'validation' }],
    ['its deadline', failure('timeout', 'timeout', true), fresh, { kind: 'fail', code: 'timeout' }],
    ['a closed port', failure('server-down', 'connection_refused'), fresh, { kind: 'give-back', usedAttempts: 0, crashes: 0 }],
    ['a lost connection', failure('server-down', 'connection_lost', true), fresh, { kind: 'give-back', usedAttempts: 0, crashes: 1 }],
    ['a second one', failure('server-down', 'connection_lost', true), { ...fresh, crashes: 1 }, { kind: 'fail', code: 'quarantined' }],
    ['a server that stands still', failure('server-down', 'stalled', true), fresh, { kind: 'give-back', crashes: 1 }],
    ['a slow proxy', failure('server-down', 'bad_gateway', true), { ...fresh, crashes: 1 }, { kind: 'give-back', crashes: 0 }],
    ['a password', failure('unauthorized', 'unauthorized'), fresh, { kind: 'give-back', usedAttempts: 0, remedy: 'wait-for-server' }],
    ['a passing fault', failure('passing', 'server_error'), fresh, { kind: 'give-back', usedAttempts: 1, delayMs: 2000 }],
    ['a second one', failure('passing', 'server_error'), { ...fresh, usedAttempts: 1 }, { kind: 'give-back', delayMs: 4000 }],
    ['the last allowed', failure('bad-answer', 'no_answer'), { ...fresh, usedAttempts: 2 }, { kind: 'fail', code: 'no_answer' }],
    ['memory', failure('out-of-memory', 'out_of_memory'), fresh, { kind: 'give-back', remedy: 'unload-checkpoint' }],
    ['memory of another server before', failure('out-of-memory', 'out_of_memory'), { ...fresh, attempts: [ranOut('Other')] },
      { kind: 'give-back', remedy: 'unload-checkpoint' }],
    ['memory again', failure('out-of-memory', 'out_of_memory'), { ...fresh, attempts: [ranOut('Main')] },
      { kind: 'fail', code: 'out_of_memory', elsewhere: true, message: /Try 704x704 instead of 1024x1024/ }]
  ] as const
  for (const [name, failed, job, decision] of [...table, ...further]) t.match(decideAfter(failed, job, 'Main', limits), decision, name)
})

t.test('a job that ran out of memory gets a size that would fit', async t => {
  const advice = (parameters: object) => {
    const job = { ...fresh, attempts: [ranOut('Main')], submission: { parameters } as unknown as Job['submission'] }
    const decision = decideAfter(failure('out-of-memory', 'out_of_memory'), job, 'Main', limits)
    return decision.kind === 'fail' ? decision.message : ''
  }
  t.match(advice({ batch_size: 4, n_iter: 2 }), /batch_size 1 and n_iter 8/)
  t.match(advice({ enable_hr: true, hr_scale: 2, width: 512, height: 512 }), /hr_scale 1.5 instead of 2/)
})
