import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import type { Caller } from '../environment/caller.ts'
import { withEnvironment, type Environment } from '../environment/environment.ts'
import { submission } from '../environment/ordinary.ts'
import { startService } from '../environment/service.ts'
import { until } from '../environment/until.ts'
import { startUpstream } from '../environment/upstream.ts'
import { asRatio, inMilliseconds, median, perSecond, quantile } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = '1,000 webhooks to a good receiver, beside 1,000 to a black hole'

const count = 1000
const bulk = 100
const goal = 1.25
/** Time for a busy machine to do all of it, in milliseconds. */
const patience = 300_000

interface Event { readonly timestamp: string, readonly data: { readonly id: string } }

/**
 * Both thousand become true within a moment: jobs that wait are cancelled. An event's delay is from its `timestamp`,
 * which is when the job's record changed, until the receiver has all of it. The limit is what the same number of events
 * needs if both receivers are good: a black hole is to cost others no more than that.
 */
export async function measure (): Promise<Row[]> {
  const limit = await delays('another good one')
  const found = await delays('a black hole')
  const p95 = (times: readonly number[]) => quantile(times, 0.95)
  return [{
    figure: about,
    measured: `median ${inMilliseconds(median(found.times))}, p95 ${inMilliseconds(p95(found.times))}, ` +
      `${perSecond(found.rate)}, ${found.maxInside} at a time in the hole`,
    limit: `p95 beside a good one ${inMilliseconds(p95(limit.times))}`,
    ratio: asRatio(p95(found.times), p95(limit.times)),
    goal: `p95 ≤ ${goal} times the limit`,
    ok: p95(found.times) <= goal * p95(limit.times)
  }]
}

async function delays (company: 'another good one' | 'a black hole') {
  return await withEnvironment(async environment => {
    const upstream = await startUpstream(environment, { kind: 'simulator', options: {} })
    const { caller } = await startService(environment, {
      command: 'start', servers: { Main: upstream.url }, settings: { EGRESS_PROFILE: 'lan' }
    })
    const times = new Map<string, number>()
    const good = await listen(environment, async (request, response) => {
      const { timestamp, data } = await json(request) as Event
      times.set(data.id, Date.now() - Date.parse(timestamp))
      response.writeHead(204).end()
    })
    let inside = 0
    let maxInside = 0
    const other = await listen(environment, (request, response) => {
      maxInside = Math.max(maxInside, ++inside)
      response.on('close', () => { inside-- })
      if (company === 'another good one') request.resume().on('end', () => { response.writeHead(204).end() })
    })
    await caller.post('/api/v1/servers/Main/pause')
    const bulks: string[] = []
    for (let submitted = 0; submitted < count; submitted += bulk) {
      for (const webhookUrl of [other, good]) bulks.push(await submitBulk(caller, webhookUrl))
    }
    const began = Date.now()
    await Promise.all(bulks.map(async id => await caller.post(`/api/v2/generate/bulk/${id}/cancel`)))
    await until(async () => times.size === count, `${count} events have arrived`, patience)
    return { times: [...times.values()], rate: count / (Date.now() - began) * 1000, maxInside }
  })
}

async function submitBulk (caller: Caller, webhookUrl: string): Promise<string> {
  const body = { ...submission('Main'), bulk_quantity: bulk, webhookUrl }
  return (await caller.post('/api/v2/generate/bulk', body) as { bulk_job_id: string }).bulk_job_id
}

async function listen (environment: Environment, respond: RequestListener): Promise<string> {
  const server = createServer(respond).listen(0, '127.0.0.1')
  await once(server, 'listening')
  environment.onClose(async () => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`
}
