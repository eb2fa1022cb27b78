import { setTimeout as sleep } from 'node:timers/promises'
import { withEnvironment, type Environment } from '../environment/environment.ts'
import { startBareServer, startProduct } from '../environment/product.ts'
import { startUpstream } from '../environment/upstream.ts'
import { asRatio, inMilliseconds } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'CPU of an idle service'

/** Goals by the number of servers, in milliseconds of CPU a minute. */
const goals = new Map([[1, 250], [20, 600]])
/** Time until the start is over, and the measured time, in milliseconds. */
const settled = 15_000
const minute = 60_000

export async function measure (): Promise<Row[]> {
  const rows: Row[] = []
  for (const [servers, goal] of goals) {
    rows.push(await withEnvironment(async environment => await idle(environment, servers, goal)))
  }
  return rows
}

async function idle (environment: Environment, servers: number, goal: number): Promise<Row> {
  const urls: string[] = []
  for (let count = 0; count < servers; count++) {
    urls.push((await startUpstream(environment, { kind: 'simulator', options: {} })).url)
  }
  const [product, server] = [await startProduct(environment, urls), await startBareServer(environment)]
  await sleep(settled)
  const read = async () => ({
    own: await product.processorTime(), bare: await server.processorTime(), commands: await commandsOf(environment)
  })
  const before = await read()
  await sleep(minute)
  const after = await read()
  const [own, bare] = [after.own - before.own, after.bare - before.bare]
  return {
    figure: `${about} a minute, ${servers} ${servers === 1 ? 'server' : 'servers'}`,
    measured: `${inMilliseconds(own)}, ${after.commands - before.commands} Redis commands`,
    limit: `bare Fastify server ${inMilliseconds(bare)}`,
    ratio: bare === 0 ? '' : asRatio(own, bare),
    goal: `≤ ${inMilliseconds(goal)}`,
    ok: own <= goal
  }
}

/** Commands that Redis carried out so far, those of scripts included. */
async function commandsOf ({ redis }: Environment): Promise<number> {
  return Number(/total_commands_processed:(\d+)/.exec(await redis.info('stats'))?.[1])
}
