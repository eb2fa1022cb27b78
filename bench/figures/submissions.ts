import { createCaller, repeat, type Caller } from '../environment/caller.ts'
import { startBareQueue } from '../environment/bare-queue.ts'
import { withEnvironment } from '../environment/environment.ts'
import { submission } from '../environment/ordinary.ts'
import { startService } from '../environment/service.ts'
import { startUpstream } from '../environment/upstream.ts'
import { asShare, median, now, perSecond } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'submissions per second'

const rounds = 3
const perRound = 2000
const inFlight = 32
const goal = 0.6

/**
 * The same body to the service and to a bare route in turns, on the same Redis. The server's line is held, so that
 * jobs only come in; the bare route has no worker either.
 */
export async function measure (): Promise<Row[]> {
  return await withEnvironment(async environment => {
    const upstream = await startUpstream(environment, { kind: 'instant', options: { milliseconds: 0 } })
    const { caller } = await startService(environment, { command: 'start', servers: { Main: upstream.url } })
    await caller.post('/api/v1/servers/Main/pause')
    const bare = createCaller(await (await startBareQueue(environment)).serve())
    environment.onClose(bare.close)
    const ourRates: number[] = []
    const bareRates: number[] = []
    await Promise.all([rate(bare, '/generate', perRound / 4), rate(caller, '/api/v2/generate', perRound / 4)])
    for (let round = 0; round < rounds; round++) {
      bareRates.push(await rate(bare, '/generate', perRound))
      ourRates.push(await rate(caller, '/api/v2/generate', perRound))
    }
    const [ours, limit] = [median(ourRates), median(bareRates)]
    return [{
      figure: `${about}, ${inFlight} in flight`,
      measured: perSecond(ours),
      limit: `bare route and add ${perSecond(limit)}`,
      ratio: asShare(ours, limit),
      goal: `≥ ${goal * 100} %`,
      ok: ours >= goal * limit
    }]
  })
}

async function rate (caller: Caller, path: string, times: number): Promise<number> {
  const body = JSON.stringify(submission('Main'))
  const began = now()
  await repeat(times, inFlight, () => caller.post(path, body))
  return times / (now() - began) * 1000
}
