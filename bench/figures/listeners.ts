import { setTimeout as sleep } from 'node:timers/promises'
import { requireCleanEnds } from '../environment/clean-ends.ts'
import { type Environment, withEnvironment } from '../environment/environment.ts'
import { type EventReader, readEvents } from '../environment/event-reader.ts'
import { submission } from '../environment/ordinary.ts'
import { processorTimeOf, residentMemoryOf } from '../environment/product.ts'
import { startService } from '../environment/service.ts'
import { until } from '../environment/until.ts'
import { startUpstream } from '../environment/upstream.ts'
import { asRatio, inMebibytes, inMilliseconds, median, quantile } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'delay of events'

const listeners = 500
const jobs = 60
const pauseMilliseconds = 150
const p95Goal = 100
const processorGoal = 25
/** How often the memory is looked at, in milliseconds. */
const memoryInterval = 20
const memoryGoal = 64 * 1024 * 1024

/** From the change in Redis until the event is with a listener, for one of them and for many at once. */
export async function measure (): Promise<Row[]> {
  return await withEnvironment(async environment => {
    const alone = await measureWith(environment, 1)
    const many = await measureWith(environment, listeners)
    const p95 = quantile(many.delays, 0.95)
    const limit = quantile(alone.delays, 0.95)
    return [{
      figure: `${about}, ${listeners} listeners`,
      measured: `median ${inMilliseconds(median(many.delays))}, p95 ${inMilliseconds(p95)} of ${many.delays.length}`,
      limit: `one listener p95 ${inMilliseconds(limit)}`,
      ratio: asRatio(p95, limit),
      goal: `p95 ≤ ${p95Goal} ms`,
      ok: p95 <= p95Goal
    }, {
      figure: `CPU a job, ${listeners} listeners`,
      measured: inMilliseconds(many.processorTime),
      limit: `one listener ${inMilliseconds(alone.processorTime)}`,
      ratio: asRatio(many.processorTime, alone.processorTime),
      goal: `≤ ${processorGoal} ms`,
      ok: many.processorTime <= processorGoal
    }, {
      figure: `memory of ${listeners} listeners`,
      measured: `${inMebibytes(many.memory)} at most`,
      limit: `one listener ${inMebibytes(alone.memory)}`,
      ratio: '',
      goal: `≤ ${inMebibytes(memoryGoal)}`,
      ok: many.memory <= memoryGoal
    }]
  })
}

/** Milliseconds of each event to each listener, by how many bytes the service grew, and milliseconds of CPU a job. */
async function measureWith (
  environment: Environment, count: number
): Promise<{ delays: number[], memory: number, processorTime: number }> {
  const upstream = await startUpstream(environment, { kind: 'instant', options: { milliseconds: 20 } })
  const service = await startService(environment, {
    command: 'start', servers: { [`For${count}`]: upstream.url }, settings: { LISTENERS_PER_KEY: '1000' }
  })
  const { caller, url } = service
  // What the first jobs make the service compile and keep is not the listeners'.
  for (let warmUp = 0; warmUp < 20; warmUp++) await caller.post('/api/v2/generate', submission(`For${count}`, { width: 64, height: 64 }))
  await sleep(2000)
  // From outside: a watch in the process itself would cost more than a few listeners.
  const memoryBefore = await residentMemoryOf(service.pid)
  let mostMemory = memoryBefore
  const sampling = setInterval(() => {
    residentMemoryOf(service.pid).then(memory => { mostMemory = Math.max(mostMemory, memory) }, () => {})
  }, memoryInterval)
  const delays: number[] = []
  const ready = new Set<number>()
  const ends = Array.from({ length: count }, () => 0)
  const readers: EventReader[] = []
  for (let index = 0; index < count; index++) {
    const reader = readEvents(`${url}/api/v1/events`, '', ({ kind, at }) => {
      if (kind === 'ready') {
        ready.add(index)
        return
      }
      delays.push(Date.now() - Date.parse(at))
      if (kind === 'completed') ends[index] = (ends[index] ?? 0) + 1
    })
    reader.ended.catch(() => {})
    readers.push(reader)
  }
  await until(async () => ready.size === count, 'all listen')
  const processorBefore = await processorTimeOf(service.pid)
  for (let sent = 0; sent < jobs; sent++) {
    await caller.post('/api/v2/generate', submission(`For${count}`, { width: 64, height: 64 }))
    await sleep(pauseMilliseconds)
  }
  await until(async () => ends.every(heard => heard >= jobs), 'all have heard every end')
  const processorTime = (await processorTimeOf(service.pid) - processorBefore) / jobs
  await requireCleanEnds(caller, jobs)
  clearInterval(sampling)
  for (const reader of readers) reader.close()
  await service.stop()
  return { delays, memory: mostMemory - memoryBefore, processorTime }
}
