import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Queue, Worker } from 'bullmq'
import Fastify from 'fastify'
import { GenerateRequest } from '../../schemas/generate.ts'
import { GenerationParameters } from '../../schemas/generation-parameters.ts'
import { Ref } from '../../schemas/kit.ts'
import { schemaController } from '../../plugins/core/validation.ts'
import { connectRedis } from '../../src/redis/connections.ts'
import { now } from '../statistics.ts'
import { answerParent, used } from './answer-parent.ts'
import { repeat } from './caller.ts'
import { silentLogger } from './environment.ts'

const [, , redisUrl = ''] = process.argv
const connection = await connectRedis(redisUrl, 'worker', silentLogger)
const prefix = '{bare}:bull'
const warmUp = 20
const options = () => ({ jobId: randomUUID(), priority: 60, removeOnComplete: { count: 200 } })

async function handOver (times: number, rest: number): Promise<number[]> {
  const queue = new Queue('hand-over', { connection, prefix })
  const processed: number[] = []
  const worker = new Worker('hand-over', async () => { processed.push(now()) }, { connection, prefix })
  await worker.waitUntilReady()
  const found: number[] = []
  for (let index = 0; index < warmUp + times; index++) {
    const began = now()
    const completed = once(worker, 'completed')
    await queue.add('job', {}, options())
    await completed
    found.push((processed[index] ?? NaN) - began)
    await sleep(rest)
  }
  await worker.close()
  await queue.close()
  return found.slice(warmUp)
}

async function work (jobs: number): Promise<number> {
  const name = `work-${randomUUID()}`
  const queue = new Queue(name, { connection, prefix })
  await repeat(jobs, 50, () => queue.add('job', { jobId: randomUUID(), run: 1 }, options()))
  let processed = 0
  let began = 0
  let ended = 0
  const worker = new Worker(name, async () => {
    processed++
    if (processed === 1) began = now()
    if (processed === jobs) ended = now()
  }, { connection, prefix, concurrency: 1 })
  const drained = once(worker, 'drained')
  await drained
  await worker.close()
  await queue.close()
  return (jobs - 1) / (ended - began) * 1000
}

/** As schemas, ids and priorities go the same as the service's route, without anything else of it. */
async function serve (): Promise<string> {
  const queue = new Queue('serve', { connection, prefix })
  const app = Fastify({ schemaController })
  app.addSchema(GenerationParameters)
  app.addSchema(GenerateRequest)
  app.post('/generate', { schema: { body: Ref(GenerateRequest) } }, async (request, reply) => {
    const { id } = await queue.add('generate', request.body, options())
    reply.code(202)
    return { success: true, id, status: 'pending' }
  })
  return await app.listen({ host: '127.0.0.1', port: 0 })
}

answerParent({
  used,
  handOver (value) {
    const { times, rest } = value as { times: number, rest: number }
    return handOver(times, rest)
  },
  work: jobs => work(jobs as number),
  serve: () => serve()
}, () => process.exit())
