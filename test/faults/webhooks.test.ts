import { mkdirSync, watch } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { entriesLua } from '../../queues/generation-queue.ts'
import { endJob, loadQueueScripts } from '../../src/jobs/scripts/index.ts'
import { changeDelivery, createDelivery } from '../../src/webhooks/deliveries.ts'
import { enterEndpoint, leaveEndpoint } from '../../src/webhooks/endpoints.ts'
import { quick } from '../helper.ts'
import { startReceiver, type Received } from '../webhooks/receiver.ts'
import { startFleet, untilAllEnded, type ApiProcess, type ServiceProcess } from './processes.ts'
import { startRedisProxy } from './redis-proxy.ts'

/**
 * Kills a worker or an API process at each step between a job's end at the server and the record of its receiver's
 * answer. Commands to Redis separate the steps, so a proxy to Redis strikes at them: before a command arrives, or
 * between it and its answer.
 */
const common = {
  EGRESS_PROFILE: 'lan',
  WEBHOOK_RETRY_SCHEDULE: '50ms,50ms,50ms',
  WEBHOOK_TIMEOUT_SECONDS: '2',
  // One job can meet several kills, each of which counts as a generation.
  JOB_ATTEMPTS: '10'
}
const { cancelJob } = loadQueueScripts(entriesLua)
const twoImages = { ...quick, batch_size: 2 }

/** Its end when it is sent in full, and its name when the connection has sent it before. */
const script = ({ lua, sha }: { readonly lua: string, readonly sha: string }) => [lua.slice(-100), sha]
/** BullMQ packs the name of the added entry. */
const entryAdded = ['\u00a7deliver']
const outboxForgets = ['xdel']

const idsOf = (requests: readonly Received[]) => new Set(requests.map(({ headers }) => headers['webhook-id']))

t.test('no kill at any step between the images and the receiver\'s answer loses or doubles an event', async t => {
  const fleet = await startFleet(t, { stepMilliseconds: 5 })
  const proxy = await startRedisProxy(t, fleet.redis)
  const viaProxy = { ...common, REDIS_URL: proxy.url }
  let api: ApiProcess = await fleet.api(viaProxy)
  const { webhook_secret: secret } = (await api.request('GET', '/api/v1/webhooks/secret')).body
  const receiver = await startReceiver(t, [String(secret)])
  let worker: ServiceProcess = await fleet.worker(viaProxy)
  const die = () => { worker.signal('SIGKILL') }
  const jobs: Array<{ readonly step: string, readonly id: string, readonly type: string }> = []

  const drafts = join(fleet.dataDirectory, 'outputs', '.drafts')
  mkdirSync(drafts, { recursive: true })
  const atFirstFileIn = (folder: string) => () => {
    const watcher = watch(folder, () => {
      watcher.close()
      die()
    })
  }
  const at = (texts: readonly string[], when: 'before' | 'after') => () => { proxy.strikeAt(texts, when, die) }
  // What is stored after a command is what is stored before the next one: each state is one step.
  const steps: Array<readonly [string, () => void]> = [
    ['an image begins to arrive', atFirstFileIn(drafts)],
    ['one of two images is in its place', atFirstFileIn(join(fleet.dataDirectory, 'outputs'))],
    ['both are, the record knows nothing', at(script(endJob), 'before')],
    ['the record and the outbox know', at(script(endJob), 'after')],
    ['the delivery is recorded', at(script(createDelivery), 'after')],
    ['its queue entry is there', at(entryAdded, 'after')],
    ['the outbox has forgotten it', at(outboxForgets, 'after')],
    ['it has a slot of the endpoint', at(script(enterEndpoint), 'after')],
    ['the receiver has it and has not answered', () => {
      receiver.respond((_request, response) => {
        receiver.respond((_next, later) => { later.writeHead(204).end() })
        die()
        response.destroy()
      })
    }],
    ['the receiver has answered, the record knows nothing', at(script(changeDelivery), 'before')],
    ['the record knows', at(script(changeDelivery), 'after')],
    ['the slot is free again', at(script(leaveEndpoint), 'after')]
  ]
  for (const [step, arm] of steps) {
    arm()
    jobs.push({ step, id: await api.submit(twoImages, { webhookUrl: receiver.url }), type: 'job.completed' })
    await worker.ended
    t.pass(`killed when ${step}`)
    if (step === steps.at(-1)?.[0]) await fleet.workerHere(viaProxy)
    else worker = await fleet.worker(viaProxy)
  }

  for (const when of ['before', 'after'] as const) {
    await api.request('POST', '/api/v1/servers/Main/pause')
    const id = await api.submit(quick, { webhookUrl: receiver.url })
    proxy.strikeAt(script(cancelJob), when, () => { api.signal('SIGKILL') })
    await api.request('POST', `/api/v2/jobs/${id}/cancel`).catch(() => null)
    await api.ended
    t.pass(`the API was killed ${when} a cancel was on record`)
    api = await fleet.api(viaProxy)
    // Like its client, which got no answer.
    await api.request('POST', `/api/v2/jobs/${id}/cancel`)
    await api.request('POST', '/api/v1/servers/Main/resume')
    jobs.push({ step: `the API was killed ${when} a cancel`, id, type: 'job.cancelled' })
  }

  await untilAllEnded(fleet)
  for (const { step, id, type } of jobs) {
    const requests = await receiver.until(1, ({ event }) => event.data.id === id)
    while (await fleet.look.hget(fleet.keys.key('delivery', String(requests[0]?.headers['webhook-id'])), 'state') !== 'delivered') {
      await sleep(50)
    }
    const all = receiver.requests.filter(({ event }) => event.data.id === id)
    t.equal(idsOf(all).size, 1, `${step}: ${all.length} deliveries, one event`)
    t.equal(new Set(all.map(({ text }) => text)).size, 1)
    t.match(all[0]?.event, { type, data: { sequence: 1 } })
    t.equal((await api.job(id)).status, type === 'job.completed' ? 'completed' : 'cancelled')
  }
  t.equal(await fleet.look.xlen(fleet.keys.key('webhook-outbox')), 0)

  await t.test('and a kill between two steps of a redelivery does not either', async () => {
    const [first] = jobs
    const event = String(receiver.requests.find(({ event }) => event.data.id === first?.id)?.headers['webhook-id'])
    const before = receiver.requests.length
    proxy.strikeAt(entryAdded, 'before', () => { api.signal('SIGKILL') })
    await api.request('POST', `/api/v1/webhooks/deliveries/${event}/redeliver`).catch(() => null)
    await api.ended
    // A worker looks for lost queue entries at its start, and periodically.
    await fleet.workerHere(common)
    await receiver.until(before + 1)
    t.equal(String(receiver.requests.at(-1)?.headers['webhook-id']), event)
  })
})

t.end()
