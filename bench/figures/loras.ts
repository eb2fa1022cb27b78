import { setTimeout as sleep } from 'node:timers/promises'
import { withEnvironment } from '../environment/environment.ts'
import { startService } from '../environment/service.ts'
import { startUpstream } from '../environment/upstream.ts'
import { until } from '../environment/until.ts'
import type { ProcessWatch } from '../environment/watch-process.ts'
import { asRatio, inMebibytes, inMilliseconds, now } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'while a list of 2,000 LoRAs with 200 kB of metadata each is read'

const count = 2000
const metadataBytes = 200_000
/** In milliseconds. */
const longestHold = 50

interface Models { readonly models: ReadonlyArray<{ readonly tags: readonly string[] }> }

/** How late the event loop of the service is, and by how much its memory grows, over a whole scan for LoRAs. */
export async function measure (): Promise<Row[]> {
  return await withEnvironment(async environment => {
    const upstream = await startUpstream(environment, {
      kind: 'simulator', options: { stepMilliseconds: 0, manyLoras: { count, metadataBytes } }
    })
    const service = await startService(environment, { command: 'start', servers: { Main: upstream.url } })
    const { caller } = service
    const online = now()
    await until(async () => {
      await sleep(200)
      const last = `lora-${String(count - 1).padStart(5, '0')}`
      const { models } = await caller.get(`/api/v1/models?type=lora&limit=1&search=${last}`) as Models
      return (models[0]?.tags.length ?? 0) > 0
    }, 'the metadata was read for the first time', 180_000)
    const firstPass = now() - online
    await sleep(1000)
    await service.ask('watch')
    const began = now()
    const { details } = await caller.post('/loras/scan') as { details: { total_scanned: number } }
    const took = now() - began
    if (details.total_scanned !== count) throw new Error(`the scan met ${details.total_scanned} LoRAs`)
    const { delay, held, memory } = await service.ask<ProcessWatch>('report')
    const growth = memory.most - memory.before
    const whole = count * metadataBytes
    return [
      {
        figure: `from the server's first use until its metadata is known, ${about}`,
        measured: inMilliseconds(firstPass),
        limit: '',
        ratio: '',
        goal: '',
        ok: null
      },
      { figure: `a scan ${about}`, measured: inMilliseconds(took), limit: '', ratio: '', goal: '', ok: null },
      {
        figure: `event loop held by the service itself ${about}`,
        measured: `most ${inMilliseconds(held)}; late p99 ${inMilliseconds(delay.p99)}, most ${inMilliseconds(delay.most)}`,
        limit: '',
        ratio: '',
        goal: `≤ ${longestHold} ms`,
        ok: held <= longestHold
      },
      {
        figure: `memory taken ${about}`,
        measured: inMebibytes(growth),
        limit: `the list ${inMebibytes(whole)}`,
        ratio: asRatio(growth, whole),
        goal: 'below a quarter of the list',
        ok: growth < whole / 4
      }
    ]
  })
}
