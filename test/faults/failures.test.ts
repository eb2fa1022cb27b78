import t from 'tap'
import { quick, startService } from '../helper.ts'
import type { Fault } from '../../src/simulator/simulator.ts'
import { checkInvariants } from './invariants.ts'

interface Expectation {
  readonly name: string
  readonly fault: Fault
  readonly settings?: Readonly<Record<string, string>>
  readonly status: 'completed' | 'failed'
  /** Code of the job's error; null where it ends well. */
  readonly code: string | null
  /** Codes of the attempts before its end. */
  readonly attempts: readonly string[]
  /** How many generations it took at the server. */
  readonly generations: number
  /** How many of them count against the allowed attempts. */
  readonly used: number
}

const sticky = { sticky: true } as const

/** What each class of failure does to the job. Every line goes on afterwards. */
const table: readonly Expectation[] = [
  { name: 'a passing fault is tried again', fault: { kind: 'exception-group' }, status: 'completed', code: null, attempts: ['server_error'], generations: 2, used: 1 },
  { name: 'a passing fault that stays is given up after the allowed attempts', fault: { kind: 'exception-group', ...sticky }, status: 'failed', code: 'server_error', attempts: ['server_error', 'server_error', 'server_error'], generations: 3, used: 2 },
  { name: 'an answer that breaks off is tried again', fault: { kind: 'cut-body' }, status: 'completed', code: null, attempts: ['truncated_answer'], generations: 2, used: 1 },
  { name: 'an answer that is no JSON is tried again', fault: { kind: 'truncated-json' }, status: 'completed', code: null, attempts: ['truncated_answer'], generations: 2, used: 1 },
  { name: 'a broken image is tried again', fault: { kind: 'corrupt-image' }, status: 'completed', code: null, attempts: ['corrupt_image'], generations: 2, used: 1 },
  { name: 'out of memory is tried once more with the memory freed', fault: { kind: 'out-of-memory' }, status: 'completed', code: null, attempts: ['out_of_memory'], generations: 2, used: 1 },
  { name: 'out of memory twice is the end', fault: { kind: 'out-of-memory', ...sticky }, status: 'failed', code: 'out_of_memory', attempts: ['out_of_memory', 'out_of_memory'], generations: 2, used: 1 },
  { name: 'a server that is being restarted costs no attempt', fault: { kind: 'bad-gateway' }, status: 'completed', code: null, attempts: ['bad_gateway'], generations: 1, used: 0 },
  { name: 'a server that dies under a job costs it no attempt', fault: { kind: 'crash-mid', refuseMilliseconds: 200 }, status: 'completed', code: null, attempts: ['connection_lost'], generations: 2, used: 0 },
  { name: 'a job under which servers die is set aside', fault: { kind: 'crash-mid', refuseMilliseconds: 200, ...sticky }, status: 'failed', code: 'quarantined', attempts: ['connection_lost', 'connection_lost'], generations: 2, used: 0 },
  { name: 'a job that takes too long is stopped at the server and fails', fault: { kind: 'slow', factor: 100 }, settings: { JOB_TIMEOUT_SECONDS: '1' }, status: 'failed', code: 'deadline_passed', attempts: ['deadline_passed'], generations: 1, used: 0 }
]

t.test('each class of failure', async t => {
  const service = await startService(t, {
    simulator: { stepMilliseconds: 10 }, settings: { JOB_ATTEMPTS: '3', JOB_TIMEOUT_SECONDS: '1' }
  })
  const accepted: string[] = []
  for (const { name, fault, status, code, attempts, generations, used } of table) {
    await t.test(name, async t => {
      service.simulator.reset()
      service.simulator.setFaults([{ ...fault, prompt: 'faulty' }])
      const id = await service.submit({ ...quick, prompt: 'faulty', steps: 20 })
      const next = await service.submit(quick)
      accepted.push(id, next)
      const job = await service.until(id, 'completed', 'failed', 'cancelled')
      t.equal(job.status, status)
      t.equal(job.error?.code ?? null, code)
      t.same(job.attempts.map(({ code }) => code), attempts)
      t.equal((await service.until(next, 'completed', 'failed')).status, 'completed', 'the line goes on')
      const seen = service.simulator.state()
      t.equal(seen.generations.filter(({ taskId }) => taskId === id).length, generations)
      t.equal(seen.mostInFlight, 1, 'nothing was sent while something was under way')
      t.equal((await service.house.store.get(id)).usedAttempts, used)
      if (code === 'deadline_passed') t.match(seen.generations[0], { taskId: id, interrupted: true })
      if (status === 'failed') {
        service.simulator.setFaults([])
        t.equal((await service.request('POST', `/api/v2/jobs/${id}/retry`)).status, 200)
        t.equal((await service.until(id, 'completed', 'failed')).status, 'completed', 'a retry gives it another life')
      }
      await checkInvariants(t, accepted, {
        look: service.house.redis, keys: service.house.keys, dataDirectory: service.dataDirectory
      })
    })
  }

  await t.test('the server does not take our credentials: the line waits for whoever can mend that', async t => {
    service.simulator.reset()
    await service.simulator.restart({ auth: 'someone:else' })
    const id = await service.submit(quick)
    accepted.push(id)
    const [server] = service.house.registry.list()
    const state = async () => (await service.house.states.read(server?.id ?? ''))?.reachable
    while (await state() !== 'unauthorized') await new Promise(resolve => { setTimeout(resolve, 20) })
    t.equal((await service.job(id)).status, 'pending')
    await service.simulator.restart({ auth: null })
    t.match(await service.until(id, 'completed', 'failed'), { status: 'completed' })
    t.equal((await service.house.store.get(id)).usedAttempts, 0)
  })
})
