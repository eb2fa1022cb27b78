import { setTimeout as sleep } from 'node:timers/promises'
import { withEnvironment } from '../environment/environment.ts'
import { submission } from '../environment/ordinary.ts'
import { startService } from '../environment/service.ts'
import { until } from '../environment/until.ts'
import { generationPath, interruptPath, startUpstream } from '../environment/upstream.ts'
import { median, now, quantile, spread } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'cancel to the interrupt reaching the server'

const times = 40
const stepMilliseconds = 20
const goal = 20

/** From before a cancel is sent until the server has the interrupt, at any time of a running generation. */
export async function measure (): Promise<Row[]> {
  return await withEnvironment(async environment => {
    const upstream = await startUpstream(environment, { kind: 'simulator', options: { stepMilliseconds } })
    const { caller } = await startService(environment, { command: 'start', servers: { Main: upstream.url } })
    const found: number[] = []
    for (let index = 0; index < times; index++) {
      await upstream.forget()
      const { id } = await caller.post('/api/v2/generate', submission('Main', { steps: 150 })) as { id: string }
      await until(async () => (await upstream.seen(generationPath)).length > 0, 'the generation runs')
      await sleep(50 + Math.random() * 200)
      const began = now()
      await caller.post(`/api/v2/jobs/${id}/cancel`)
      await upstream.answered(generationPath, 1)
      const [interrupt] = await upstream.seen(interruptPath)
      found.push((interrupt?.arrived ?? NaN) - began)
    }
    return [{
      figure: about,
      measured: spread(found),
      limit: '',
      ratio: '',
      goal: `p99 ≤ ${goal} ms`,
      ok: median(found) <= goal && quantile(found, 0.99) <= goal
    }]
  })
}
