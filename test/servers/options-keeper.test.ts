import t, { type Test } from 'tap'
import { createA1111Client } from '../../src/a1111/client.ts'
import { readInventory } from '../../src/a1111/inventory.ts'
import { probeServer } from '../../src/a1111/probe.ts'
import { nothingLearned } from '../../src/servers/learned-traits.ts'
import { createProcessConnection, type WantedOptions, withOptions } from '../../src/servers/options-access.ts'
import { createOptionsKeeper } from '../../src/servers/options-keeper.ts'
import type { KeptOptions } from '../../src/servers/state-store.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { silentLogger } from '../helper.ts'

const none = { reads: 0, changes: 0 }
const clipSkip = { CLIP_stop_at_last_layers: 2 }

/** A keeper alone in front of a server, without a monitor. */
async function start (t: Test, flavor: 'a1111' | 'forge') {
  const simulator = await startSimulator({ speed: Infinity, flavor, checkpoints: ['one.safetensors', 'two.safetensors'] })
  t.teardown(simulator.close)
  const address = { baseUrl: simulator.url }
  const client = createA1111Client(address)
  t.teardown(client.close)
  const connection = createProcessConnection(client)
  t.teardown(connection.close)
  const traits = await probeServer(client)
  const inventory = await readInventory(client, traits)
  let kept: KeptOptions | null = null
  const keeper = await createOptionsKeeper({
    server: () => ({ id: 'main', alias: 'Main', address, restoreSelection: 'when idle' }),
    client,
    connection,
    store: { read: async () => kept, write: async (_, now) => { kept = now }, forget: async () => { kept = null } },
    inventory: async () => inventory,
    traits: () => traits,
    learned: () => ({ ...nothingLearned, keepsSelection: true }),
    log: silentLogger
  })

  /** Requests for options that a job costs, and the checkpoint that it names. */
  async function run (wanted: Partial<WantedOptions> = {}) {
    const count = () => {
      const { requests } = simulator.state()
      return { reads: requests['GET /sdapi/v1/options'] ?? 0, changes: requests['POST /sdapi/v1/options'] ?? 0 }
    }
    const before = count()
    const sent = await keeper.ready({
      settings: {}, checkpoint: null, touched: [], switches: false, iterates: false, ...wanted
    }, new AbortController().signal)
    const body = withOptions(JSON.stringify({ prompt: 'a lighthouse', steps: 1, width: 64, height: 64 }), sent)
    const answer = await fetch(`${simulator.url}/sdapi/v1/txt2img`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body
    })
    const { info } = await answer.json() as { info: string }
    keeper.over(sent, 'answered')
    const asked = { parameters: {}, sent: sent.settings }
    const warnings = await keeper.check(asked, JSON.parse(info) as Record<string, unknown>)
    const after = count()
    return {
      requests: { reads: after.reads - before.reads, changes: after.changes - before.changes },
      checkpoint: sent.checkpoint?.replace(/\.safetensors.*/, ''),
      used: (JSON.parse(info) as { sd_model_name: string }).sd_model_name,
      warnings
    }
  }
  function titleOf (name: string): string {
    return inventory.checkpoints.find(({ title }) => title.startsWith(name))?.title ?? ''
  }

  return { simulator, keeper, run, titleOf }
}

t.test('options that were read while a generation began or ended say nothing', async t => {
  const { keeper } = await start(t, 'forge')
  const wanted = { settings: {}, checkpoint: null, touched: [], switches: false, iterates: false }
  const idle = keeper.generations()
  const sent = await keeper.ready(wanted, new AbortController().signal)
  const running = keeper.generations()
  t.not(running, idle)
  keeper.over(sent, 'answered')
  t.not(keeper.generations(), running)
})

for (const flavor of ['a1111', 'forge'] as const) {
  t.test(`the cost of ${flavor}'s options for a job`, async t => {
    const { simulator, run, titleOf } = await start(t, flavor)
    const one = titleOf('one')
    const two = titleOf('two')
    await run()

    await t.test('nothing if it names its checkpoint and no setting', async t => {
      for (const title of [one, two, two, one]) t.strictSame((await run({ checkpoint: title })).requests, none)
    })

    await t.test('one read and one write the first time that a setting is overridden, then nothing', async t => {
      t.strictSame((await run({ checkpoint: one, settings: clipSkip })).requests, { reads: 1, changes: 1 })
      for (const title of [one, two]) {
        t.strictSame((await run({ checkpoint: title, settings: clipSkip })).requests, none)
      }
      t.strictSame((await run({ checkpoint: one })).requests, none)
    })

    await t.test('one read if it names no checkpoint, and then it is sent with the selected one', async t => {
      for (const settings of [{}, clipSkip]) {
        t.match(await run({ settings }), { requests: { reads: 1, changes: 0 }, checkpoint: 'one', used: 'one' })
      }
      await simulator.changeOptions({ sd_model_checkpoint: two })
      t.match(await run(), { requests: { reads: 1, changes: 0 }, checkpoint: 'two', used: 'two', warnings: [] })
    })

    await t.test('nothing if it names nothing, while no job overrides anything', async t => {
      await run()
      for (const name of ['two', 'one', 'two']) {
        t.match(await run(), { requests: none, used: name })
        await simulator.changeOptions({ sd_model_checkpoint: titleOf(name === 'two' ? 'one' : 'two') })
      }
      t.match(await run({ checkpoint: two }), { requests: { reads: 1 }, used: 'two' }, 'a choice can have been missed')
      t.match(await run(), { requests: { reads: 1 }, used: 'one', checkpoint: 'one' }, 'the choice holds')
      t.match(await run(), { requests: none, used: 'one' })
      t.match(await run({ iterates: true }), { requests: { reads: 1 }, checkpoint: 'one', used: 'one' },
        'a job with iterations names what all of them get')
      await simulator.changeOptions({ sd_model_checkpoint: two })
    })

    await t.test('nothing for a person\'s settings, which show in every image', async t => {
      await simulator.changeOptions({ CLIP_stop_at_last_layers: 3 })
      t.match(await run(), { warnings: [] })
      for (const title of [one, two]) {
        t.match(await run({ checkpoint: title }), { requests: none, warnings: [] })
      }
    })
  })
}
