import { createKeys } from '../../src/lib/keys.ts'
import type { Caller } from './caller.ts'
import { requireCleanEnds } from './clean-ends.ts'
import type { Environment } from './environment.ts'
import { submission } from './ordinary.ts'
import type { ServiceProcess } from './service.ts'
import { until } from './until.ts'
import { generationPath, type Upstream } from './upstream.ts'

export interface Released {
  /** Jobs a second, by the requests that reach the server. */
  readonly rate: number
  /** Processor time of the service for each job, in microseconds. */
  readonly used: number
}

/** Has jobs with a small image wait for the server Main, releases them at once, and waits until all are completed. */
export async function releaseJobs (
  { redis }: Environment, service: ServiceProcess & { readonly caller: Caller }, upstream: Upstream, count: number
): Promise<Released> {
  const { caller } = service
  const ended = createKeys('sq').key('jobs', '*', '*', 'completed')
  const total = await redis.zcard(ended) + count
  await caller.post('/api/v1/servers/Main/pause')
  for (let sent = 0; sent < count; sent += 100) {
    await caller.post('/api/v2/generate/bulk', {
      ...submission('Main', { width: 64, height: 64 }), bulk_quantity: Math.min(100, count - sent)
    })
  }
  await upstream.forget()
  const before = await service.used()
  await caller.post('/api/v1/servers/Main/resume')
  const seen = await upstream.answered(generationPath, count)
  await until(async () => await redis.zcard(ended) === total, 'every job is completed')
  const used = (await service.used() - before) / count
  await requireCleanEnds(caller, count)
  return { rate: (count - 1) / ((seen.at(-1)?.arrived ?? NaN) - (seen[0]?.arrived ?? NaN)) * 1000, used }
}
