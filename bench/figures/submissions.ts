import { createCaller, repeat, type Caller } from '../environment/caller.ts'
import { startBareQueue } from '../environment/bare-queue.ts'
import { withEnvironment } from '../environment/environment.ts'
import { submission } from '../environment/ordinary.ts'
import { startService } from '../environment/service.ts'
import { startUpstream } from '../environment/upstream.ts'
import { asRatio, asShare, inMicroseconds, median, now, perSecond } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'submissions per second'

const rounds = 5
const perRound = 2000
const inFlight = 32
const goal = 0.5
/** Processor time of one, in microseconds. */
const usedGoal = 400

/**
 * The same body to the service and to a bare route in turns, on the same Redis. The server's line is held, so that
 * jobs only come in; the bare route has no worker either. Processor time says more than the rate where other programs
 * run. The first round of both does not count: a process compiles its code during its first requests.
 */
export async function measure (): Promise<Row[]> {
  return await withEnvironment(async environment => {
    const upstream = await startUpstream(environment, { kind: 'instant', options: { milliseconds: 0 } })
    const service = await startService(environment, { command: 'start', servers: { Main: upstream.url } })
    const { caller } = service
    await caller.post('/api/v1/servers/Main/pause')
    const bareQueue = await startBareQueue(environment)
    const bare = createCaller(await bareQueue.serve())
    environment.onClose(bare.close)
    const ourRates: number[] = []
    const bareRates: number[] = []
    const ourUse: number[] = []
    const bareUse: number[] = []
    await rate(bare, '/generate', perRound)
    await rate(caller, '/api/v2/generate', perRound)
    for (let round = 0; round < rounds; round++) {
      bareUse.push(await useOf(bareQueue, async () => { bareRates.push(await rate(bare, '/generate', perRound)) }))
      ourUse.push(await useOf(service, async () => { ourRates.push(await rate(caller, '/api/v2/generate', perRound)) }))
    }
    const [ours, limit] = [median(ourRates), median(bareRates)]
    return [{
      figure: `${about}, ${inFlight} in flight`,
      measured: perSecond(ours),
      limit: `bare route and add ${perSecond(limit)}`,
      ratio: asShare(ours, limit),
      goal: `≥ ${goal * 100} %`,
      ok: ours >= goal * limit
    }, {
      figure: 'processor time of a submission',
      measured: inMicroseconds(median(ourUse)),
      limit: `bare route and add ${inMicroseconds(median(bareUse))}`,
      ratio: asRatio(median(ourUse), median(bareUse)),
      goal: `≤ ${usedGoal} µs`,
      ok: median(ourUse) <= usedGoal
    }]
  })
}

/** Processor time of one submission. */
async function useOf (program: { used (): Promise<number> }, work: () => Promise<void>): Promise<number> {
  const before = await program.used()
  await work()
  return (await program.used() - before) / perRound
}

async function rate (caller: Caller, path: string, times: number): Promise<number> {
  const body = JSON.stringify(submission('Main'))
  const began = now()
  await repeat(times, inFlight, () => caller.post(path, body))
  return times / (now() - began) * 1000
}
