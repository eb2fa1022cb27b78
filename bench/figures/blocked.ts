import { once } from 'node:events'
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import { withEnvironment } from '../environment/environment.ts'
import { startService } from '../environment/service.ts'
import { startUpstream } from '../environment/upstream.ts'
import type { ProcessWatch } from '../environment/watch-process.ts'
import { inMebibytes, inMilliseconds, median, now, quantile, spread } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'A1111 clients that wait at /sdapi/v1: first header, and 100 at once'

const times = 5
const headerGoal = 50
const callers = 100
const delayGoal = 50
/** Steps of 50 ms each: a job of 5 s. */
const longSteps = 100
const body = (steps: number) => JSON.stringify({ prompt: 'a lighthouse', steps, width: 64, height: 64 })

interface Blocked {
  /** Milliseconds from before the request until its headers were there. */
  readonly headers: number
  /** Milliseconds until the whole answer was there. */
  readonly whole: Promise<number>
}

/** How soon a client has its job's id, and the cost of many waiting clients for the process. */
export async function measure (): Promise<Row[]> {
  return await withEnvironment(async environment => {
    const upstream = await startUpstream(environment, { kind: 'simulator', options: { stepMilliseconds: 50 } })
    const service = await startService(environment, { command: 'start', servers: { Main: upstream.url } })
    const agent = new Agent({ keepAlive: true, maxSockets: callers })
    environment.onClose(async () => { agent.destroy() })
    const found: Array<{ headers: number, whole: number }> = []
    for (let index = 0; index < times; index++) {
      const { headers, whole } = await callAndWait(service.url, longSteps, agent)
      found.push({ headers, whole: await whole })
    }
    await service.ask('watch')
    const blocked = await Promise.all(Array.from({ length: callers }, () => callAndWait(service.url, 1, agent)))
    await Promise.all(blocked.map(async ({ whole }) => await whole))
    const { delay, memory } = await service.ask<ProcessWatch>('report')
    const headers = found.map(each => each.headers)
    return [{
      figure: 'first header of a blocking txt2img',
      measured: spread(headers),
      limit: `whole answer ${inMilliseconds(median(found.map(each => each.whole)))}`,
      ratio: '',
      goal: `≤ ${headerGoal} ms`,
      ok: quantile(headers, 1) <= headerGoal
    }, {
      figure: `${callers} blocked callers at once`,
      measured: `+${inMebibytes(memory.most - memory.before)}, loop delay p99 ${inMilliseconds(delay.p99)}`,
      limit: '',
      ratio: '',
      goal: `loop delay p99 ≤ ${delayGoal} ms`,
      ok: delay.p99 <= delayGoal
    }]
  })
}

async function callAndWait (url: string, steps: number, agent: Agent): Promise<Blocked> {
  const began = now()
  const headers = { 'content-type': 'application/json' }
  const request = httpRequest(`${url}/sdapi/v1/txt2img`, { method: 'POST', agent, headers })
  request.end(body(steps))
  const [answer] = await once(request, 'response') as [IncomingMessage]
  const first = now() - began
  return { headers: first, whole: read(answer).then(() => now() - began) }
}

/** @throws Error unless there is an image in it */
async function read (answer: IncomingMessage): Promise<void> {
  let text = ''
  for await (const chunk of answer.setEncoding('utf8')) text += String(chunk)
  const { images } = JSON.parse(text) as { images?: unknown[] }
  if (images?.length !== 1) throw new Error(`no image: ${text.slice(0, 200)}`)
}
