import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { Webhook } from 'standardwebhooks'
import { createKeys } from '../src/lib/keys.ts'
import { createRandom } from '../src/simulator/random.ts'
import { startSimulator } from '../src/simulator/simulator.ts'
import { findProblems, readJobs } from '../test/support/consistency.ts'
import { closeEverything, withEnvironment, type Environment } from './environment/environment.ts'
import { launchService, startService } from './environment/service.ts'

/**
 * Kills API and worker processes, most of them right when an event has become true, while jobs with webhooks come in
 * and are cancelled, and their receiver fails now and then; then counts the received events: `node
 * bench/webhook-soak.mjs [kills] [seed]`.
 */

/** Jobs wait in line up to this number. */
const longestLine = 8
/** Kills that follow an event do so within so many milliseconds, which is about as long as its delivery takes. */
const window = 60
const settings = {
  EGRESS_PROFILE: 'lan', WEBHOOK_TIMEOUT_SECONDS: '2', WEBHOOK_RETRY_SCHEDULE: Array(30).fill('300ms').join()
}

interface Received {
  readonly ids: Set<string>
  readonly bodies: Set<string>
  readonly types: Set<string>
  count: number
}

/** @returns the exit code: 0 where no event was lost and none came as two different ones */
export async function main ([killCount = '60', seed = '7']: readonly string[]): Promise<number> {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => { closeEverything().finally(() => process.exit(130)) })
  }
  return await withEnvironment(async environment =>
    await soak(environment, Number(killCount), createRandom(Number(seed))))
}

async function soak (environment: Environment, killCount: number, random: () => number): Promise<number> {
  const simulator = await startSimulator({ stepMilliseconds: 5, loadMilliseconds: 0 })
  environment.onClose(simulator.close)
  const servers = { Main: simulator.url }
  const startApi = async () => await startService(environment, { command: 'api', servers, settings })
  const startWorker = async () => await launchService(environment, { command: 'worker', servers, settings })
  let api = await startApi()
  const workers = [await startWorker(), await startWorker()]
  const keys = createKeys('sq')
  environment.redis.on('error', () => {})
  const { webhook_secret: secret } = await api.caller.get('/api/v1/webhooks/secret') as { webhook_secret: string }
  const receiver = await startReceiver(environment, new Webhook(secret), random)
  const openJobs = async () => (await Promise.all(['pending', 'processing'].map(async status =>
    await environment.redis.zcard(keys.key('jobs', '*', '*', status))))).reduce((sum, count) => sum + count)

  const accepted: string[] = []
  const over = new AbortController()
  async function submitOn (): Promise<void> {
    for (let number = 0; !over.signal.aborted; await sleep(30)) {
      if (await openJobs() >= longestLine) continue
      const parameters = { prompt: `number ${number}`, steps: 5 + Math.floor(random() * 20), width: 64, height: 64, batch_size: 2 }
      const answer = await api.caller.post('/api/v2/generate', {
        target_server_alias: 'Main', generation_params: parameters, webhookUrl: receiver.url
      }).catch(() => null) as { id: string } | null
      if (answer === null) continue
      accepted.push(answer.id)
      number++
      if (random() < 0.2) await api.caller.post(`/api/v2/jobs/${answer.id}/cancel`).catch(() => null)
    }
  }
  const submitting = submitOn()

  const subscriber = new Redis(environment.redisUrl, { maxRetriesPerRequest: null })
  environment.onClose(async () => { subscriber.disconnect() })
  await subscriber.subscribe(keys.channel('webhooks'))
  const kills = { worker: 0, api: 0 }
  while (kills.worker + kills.api < killCount) {
    await sleep(random() * 1000)
    if (random() < 0.75) await Promise.race([once(subscriber, 'message'), sleep(5000)])
    await sleep(random() * window)
    if (random() < 0.25) {
      await api.kill()
      api = await startApi()
      kills.api++
    } else {
      const index = Math.floor(random() * workers.length)
      await workers[index]?.kill()
      workers[index] = await startWorker()
      kills.worker++
    }
    process.stderr.write(`kill ${kills.worker + kills.api}: ${accepted.length} jobs accepted, ${receiver.received.size} delivered\n`)
  }
  over.abort()
  await submitting
  const unsettled = async () => await openJobs() + await environment.redis.xlen(keys.key('webhook-outbox')) +
    await environment.redis.zcard(keys.key('deliveries', '*', 'pending'))
  while (await unsettled() > 0) await sleep(100)

  const traces = { look: environment.redis, keys, dataDirectory: environment.folder }
  const problems = await findProblems(accepted, traces)
  const jobs = await readJobs(traces)
  const lost = [...jobs.keys()].filter(id => !receiver.received.has(id))
  const doubled = [...receiver.received.values()].filter(({ ids, bodies }) => ids.size > 1 || bodies.size > 1)
  const wrong = [...jobs.values()].filter(({ id, status }) => receiver.received.get(id)?.types.has(`job.${status}`) === false)
  const deliveries = [...receiver.received.values()].reduce((sum, { count }) => sum + count, 0)
  process.stdout.write([
    `kills: ${kills.worker} of workers, ${kills.api} of the API`,
    `jobs accepted: ${accepted.length}; in Redis: ${jobs.size}; delivered: ${receiver.received.size}, in ${deliveries} deliveries`,
    `events lost: ${lost.length}`,
    `different events for one end: ${doubled.length}`,
    `events that do not say what the job is: ${wrong.length}`,
    `deliveries that the library did not verify: ${receiver.forged()}`,
    `jobs lost, ended twice or inconsistent: ${problems.length}`,
    ...problems
  ].join('\n') + '\n')
  return lost.length + doubled.length + wrong.length + receiver.forged() + problems.length === 0 ? 0 : 1
}

/** Takes most events, and fails at some before or after it has noted them. */
export async function startReceiver (environment: Environment, webhook: Webhook, random: () => number) {
  const received = new Map<string, Received>()
  let forged = 0
  const server = createServer((request, response) => {
    text(request).then(body => {
      try {
        webhook.verify(body, request.headers as Record<string, string>)
      } catch {
        forged++
      }
      const chance = random()
      if (chance < 0.1) return response.writeHead(500).end()
      const { type, data: { id } } = JSON.parse(body) as { type: string, data: { id: string } }
      const known: Received = received.get(id) ?? { ids: new Set(), bodies: new Set(), types: new Set(), count: 0 }
      known.ids.add(String(request.headers['webhook-id']))
      known.bodies.add(body)
      known.types.add(type)
      known.count++
      received.set(id, known)
      return chance < 0.2 ? response.destroy() : response.writeHead(204).end()
    }).catch(() => { response.destroy() })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  environment.onClose(async () => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`, received, forged: () => forged }
}
