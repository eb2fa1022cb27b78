import { Buffer } from 'node:buffer'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { withEnvironment } from '../environment/environment.ts'
import { submission } from '../environment/ordinary.ts'
import { startService } from '../environment/service.ts'
import { until } from '../environment/until.ts'
import { startUpstream } from '../environment/upstream.ts'
import type { ProcessWatch } from '../environment/watch-process.ts'
import { asRatio, inMebibytes, inMilliseconds, now } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'while four noisy pictures of 1024 x 1024 come in'

const times = 5
const pictures = 4
/** In milliseconds. */
const longestHold = 50
/** An image of 1024 x 1024 that cannot be compressed. */
const imageBytes = 1024 * 1024 * 3

/**
 * Delay of the service's event loop, and growth of its memory. The limit is the cost of taking such an answer as a
 * whole: parsing it and decoding its images.
 */
export async function measure (): Promise<Row[]> {
  return await withEnvironment(async environment => {
    const upstream = await startUpstream(environment, { kind: 'simulator', options: { stepMilliseconds: 0, noise: true } })
    const service = await startService(environment, { command: 'start', servers: { Main: upstream.url } })
    const { caller } = service

    async function generate (): Promise<void> {
      const { id } = await caller.post('/api/v2/generate',
        submission('Main', { width: 1024, height: 1024, batch_size: pictures, steps: 1 })) as { id: string }
      await until(async () => {
        const { job } = await caller.get(`/api/v2/jobs/${id}`) as { job: { status: string, images: unknown[] } }
        return job.status === 'completed' && job.images.length === pictures
      }, 'four pictures are stored')
    }

    await generate()
    await sleep(500)
    await service.ask('watch')
    for (let index = 0; index < times; index++) await generate()
    const { delay, held, memory } = await service.ask<ProcessWatch>('report')
    const whole = takeWhole()
    const growth = memory.most - memory.before
    return [
      {
        figure: `event loop late ${about}`,
        measured: `p99 ${inMilliseconds(delay.p99)}, most ${inMilliseconds(delay.most)}`,
        limit: `parsing it whole ${inMilliseconds(whole.milliseconds)}`,
        ratio: asRatio(delay.most, whole.milliseconds),
        goal: 'most below the limit',
        ok: delay.most < whole.milliseconds
      },
      {
        figure: `event loop held by the service itself ${about}`,
        measured: `most ${inMilliseconds(held)}`,
        limit: `parsing it whole ${inMilliseconds(whole.milliseconds)}`,
        ratio: asRatio(held, whole.milliseconds),
        goal: `≤ ${longestHold} ms`,
        ok: held <= longestHold
      },
      {
        figure: `memory taken ${about}`,
        measured: inMebibytes(growth),
        limit: `one answer ${inMebibytes(whole.bytes)}`,
        ratio: asRatio(growth, whole.bytes),
        goal: 'below two answers',
        ok: growth < 2 * whole.bytes
      }
    ]
  })
}

/** Takes an answer of the same size the simple way, after a warm-up. */
function takeWhole (): { milliseconds: number, bytes: number } {
  const images = Array.from({ length: pictures }, () => randomBytes(imageBytes).toString('base64'))
  const answer = Buffer.from(JSON.stringify({ images, parameters: {}, info: '{}' }))
  let milliseconds = 0
  for (let round = 0; round < 3; round++) {
    const began = now()
    const parsed = JSON.parse(answer.toString()) as { images: string[] }
    for (const image of parsed.images) Buffer.from(image, 'base64')
    milliseconds = now() - began
  }
  return { milliseconds, bytes: answer.length }
}
