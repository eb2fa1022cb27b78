import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { createA1111Client } from '../../src/a1111/client.ts'
import { GenerationFailure } from '../../src/a1111/types.ts'
import { createKeys } from '../../src/lib/keys.ts'
import { createServerMonitor } from '../../src/servers/monitor.ts'
import type { Server } from '../../src/servers/registry.ts'
import { createServerStateStore } from '../../src/servers/state-store.ts'
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts'
import { silentLogger } from '../helper.ts'
import { startTestRedis } from '../redis.ts'

/** Checks only on request, and reads the inventory each time. */
const intervals = { whileUp: 3_600_000, whileDown: 3_600_000, inventory: 0 }
/** More than is read with an inventory. */
const many = { count: 30, metadataBytes: 100_000 }

const redisServer = await startTestRedis()
t.teardown(redisServer.stop)
const redis = new Redis(redisServer.url)
t.teardown(() => { redis.disconnect() })
const keys = createKeys('sq')
const states = createServerStateStore(redis, keys)

/** Watches a simulator; `hold` keeps its passes from the server's answer, and they fail with `failure`. */
async function watch (t: Test, id: string, simulator: Simulator) {
  const control = {
    held: Promise.resolve(), failure: null as Error | null, away: null as Error | null, passes: 0, ended: 0
  }
  const client = createA1111Client({ baseUrl: simulator.url })
  const reported: boolean[] = []
  const monitor = createServerMonitor({
    server: () => ({ id, alias: id, address: { baseUrl: simulator.url } }) as Server,
    client: {
      ...client,
      async readJson (path, options) {
        if (control.away !== null) throw control.away
        const isPass = path === '/sdapi/v1/loras' && options?.signal !== undefined
        if (!isPass) return await client.readJson(path, options)
        control.passes++
        try {
          const { signal } = options
          await Promise.race([control.held, new Promise(resolve => { signal?.addEventListener('abort', resolve) })])
          signal?.throwIfAborted()
          if (control.failure !== null) throw control.failure
          return await client.readJson(path, options)
        } finally {
          control.ended++
        }
      }
    },
    states,
    log: silentLogger,
    intervals,
    onUsable: async usable => { reported.push(usable) }
  })
  t.teardown(async () => {
    await monitor.close()
    await client.close()
  })
  const inventories = async (times = 1) => {
    for (let time = 0; time < times; time++) await monitor.check()
  }
  return {
    control,
    monitor,
    reported,
    inventories,
    /** The number of passes until now, after so many more inventories and the pass that they may have begun. */
    async passesAfter (times: number) {
      await inventories(times)
      await states.loraFacts.exclusively(id, async () => {})
      return control.passes
    },
    known: async () => (await states.loraFacts.read(id)).size
  }
}

function hold (): { held: Promise<void>, release: () => void } {
  let release = () => {}
  const held = new Promise<void>(resolve => { release = resolve })
  return { held, release }
}

t.test('the metadata of many LoRAs is read beside the checks, and only if needed', async t => {
  const simulator = await startSimulator({ speed: Infinity, manyLoras: many })
  t.teardown(simulator.close)
  const { control, monitor, reported, inventories, passesAfter, known } = await watch(t, 'main', simulator)

  const { held, release } = hold()
  control.held = held
  await inventories(3)
  t.match([monitor.usable(), reported], [true, [true]], 'the server is in use before it has been read')
  t.match([control.passes, control.ended], [1, 0], 'and is looked at meanwhile')
  t.equal((await states.freshInventory('main'))?.loras.length, 30, 'all names are known')
  const first = await known()
  t.ok(first > 0 && first < 30, `what is written in ${first} of them too`)
  release()
  t.equal(await passesAfter(0), 1)
  t.equal(await known(), 30)

  t.equal(await passesAfter(3), 1, 'the same list gives no reason')
  simulator.setManyLoras({ ...many, count: 31 })
  t.equal(await passesAfter(3), 2, 'a new LoRA does')
  t.equal(await known(), 31)
  const left = await redis.pttl(keys.key('server', 'main', 'lora-facts-read'))
  t.ok(left > 5.9 * 3_600_000 && left <= 6 * 3_600_000, 'and so does the end of six hours')

  await monitor.stillAnswers(new GenerationFailure('server-down', 'connection_lost', 'It went away.'))
  t.equal(await passesAfter(2), 3, 'a server that may have been restarted does')
  await states.loraFacts.askAgain('main')
  t.equal(await passesAfter(2), 4, 'a person who asks does')
})

t.test('a request during a pass starts another one after it', async t => {
  const simulator = await startSimulator({ speed: Infinity, manyLoras: many })
  t.teardown(simulator.close)
  const { control, inventories, passesAfter } = await watch(t, 'asked', simulator)
  const { held, release } = hold()
  control.held = held
  await inventories()
  await states.loraFacts.askAgain('asked')
  await inventories()
  t.equal(control.passes, 1, 'there is one at a time')
  release()
  t.equal(await passesAfter(0), 1)
  t.equal(await passesAfter(2), 2)
})

t.test('a failed pass is not retried at once, and makes no server unusable', async t => {
  const simulator = await startSimulator({ speed: Infinity, manyLoras: many })
  t.teardown(simulator.close)
  const { control, monitor, passesAfter, known } = await watch(t, 'failing', simulator)
  control.failure = new GenerationFailure('bad-answer', 'truncated_answer', 'It ends too early.')
  t.equal(await passesAfter(3), 1)
  t.ok(monitor.usable())
  control.failure = null
  simulator.setManyLoras({ ...many, count: 31 })
  t.equal(await passesAfter(2), 2)
  t.equal(await known(), 31)
})

t.test('a pass ends with its server, and with the watch', async t => {
  const simulator = await startSimulator({ speed: Infinity, manyLoras: many })
  t.teardown(simulator.close)
  const { control, monitor, inventories, passesAfter, known } = await watch(t, 'leaving', simulator)
  control.held = hold().held
  await inventories()
  control.away = new GenerationFailure('server-down', 'server_unreachable', 'It went away.')
  t.match(await monitor.check(), { reachable: 'no' })
  await states.loraFacts.exclusively('leaving', async () => {})
  t.match([control.passes, control.ended], [1, 1])
  control.away = null
  control.held = Promise.resolve()
  t.equal(await passesAfter(1), 2, 'another follows when it is back')
  t.equal(await known(), 30)
  control.held = hold().held
  await states.loraFacts.askAgain('leaving')
  await inventories()
  t.match([control.passes, control.ended], [3, 2])
  await monitor.close()
  t.equal(control.ended, 3)
})

t.test('the metadata of a few LoRAs is read with the inventory', async t => {
  const simulator = await startSimulator({ speed: Infinity })
  t.teardown(simulator.close)
  const { passesAfter, inventories, known } = await watch(t, 'small', simulator)
  await inventories()
  t.equal(await known(), 4)
  t.equal(await passesAfter(2), 0)
})
