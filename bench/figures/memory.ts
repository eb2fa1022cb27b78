import { randomUUID } from 'node:crypto'
import type { Job } from '../../src/jobs/job.ts'
import { createKeys } from '../../src/lib/keys.ts'
import { fill } from '../environment/fill.ts'
import { type Environment, usedBytes, withEnvironment } from '../environment/environment.ts'
import { makeOrdinaryJob } from '../environment/ordinary-job.ts'
import type { Row } from '../table.ts'

export const about = 'Redis memory per finished job'

const jobs = 10_000
const goal = 3 * 1024
const keys = createKeys('sq')

/**
 * What Redis says that it uses, before and after, without the stream of events, which stops growing. BullMQ keeps
 * 200 ended entries of each server and no more, which is not counted.
 */
export async function measure (): Promise<Row[]> {
  const like = await makeOrdinaryJob()
  return [
    await measureOwnedBy('an access key', 'mk_alpha', like),
    await measureOwnedBy('nobody', null, like)
  ]
}

async function measureOwnedBy (owner: string, keyId: string | null, like: Job): Promise<Row> {
  return await withEnvironment(async environment => {
    const before = await usedBytes(environment)
    await fill(environment.redis, like, {
      count: jobs,
      serverIds: [randomUUID(), randomUUID()],
      keyIds: [keyId],
      endOf: () => 'completed',
      promptOf: () => ''
    })
    const perJob = (await usedBytes(environment) - before) / jobs
    const record = await recordBytes(environment)
    return {
      figure: `${about}, of ${owner}`,
      measured: `${Math.round(perJob)} B`,
      limit: `record alone ${record.bytes} B (${record.fields})`,
      ratio: (perJob / record.bytes).toFixed(2),
      goal: `≤ ${goal} B`,
      ok: perJob <= goal
    }
  })
}

/** The size of one record, and of its largest fields. */
async function recordBytes ({ redis }: Environment): Promise<{ bytes: number, fields: string }> {
  const [id = ''] = await redis.zrange(keys.key('jobs', '*', '*', '*'), '0', '0')
  const fields = Object.entries(await redis.hgetall(keys.key('job', id)))
    .map(([name, value]) => ({ name, bytes: Buffer.byteLength(value) }))
    .toSorted((a, b) => b.bytes - a.bytes)
    .slice(0, 3)
    .map(({ name, bytes }) => `${name} ${bytes}`)
  return {
    bytes: await redis.memory('USAGE', keys.key('job', id), 'SAMPLES', 0) ?? 0,
    fields: fields.join(', ')
  }
}
