import sharp from 'sharp'
import t, { type Test } from 'tap'
import { type A1111Client, createA1111Client } from '../../src/a1111/client.ts'
import type { GenerationOptions } from '../../src/a1111/generation-call.ts'
import { readInventory } from '../../src/a1111/inventory.ts'
import { probeServer, readRoutes } from '../../src/a1111/probe.ts'
import { GenerationFailure, type ServerProgress } from '../../src/a1111/types.ts'
import type { FaultKind } from '../../src/simulator/faults/faults.ts'
import { type Simulator, type SimulatorOptions, startSimulator } from '../../src/simulator/simulator.ts'

async function start (
  t: Test, options: SimulatorOptions = {}, login: { username?: string, password?: string } = {}
): Promise<{ simulator: Simulator, client: A1111Client }> {
  const simulator = await startSimulator({ speed: Infinity, ...options })
  const client = createA1111Client({ baseUrl: simulator.url, ...login })
  t.teardown(async () => {
    await client.close()
    await simulator.close()
  })
  return { simulator, client }
}

function collect (): { images: Buffer[], options: GenerationOptions } {
  const images: Buffer[] = []
  return {
    images,
    options: {
      deadlineMs: 60_000,
      maxAnswerBytes: 2 ** 28,
      async createSink () {
        const parts: Buffer[] = []
        return {
          write: async bytes => { parts.push(Buffer.from(bytes)) },
          end: async () => { images.push(Buffer.concat(parts)) },
          abort: async () => {}
        }
      }
    }
  }
}

function request (changes: Record<string, unknown> = {}): string {
  return JSON.stringify({ prompt: 'a lighthouse', steps: 20, width: 64, height: 64, seed: 7, force_task_id: 'task-1', ...changes })
}

async function failureOf (call: Promise<unknown>): Promise<GenerationFailure> {
  const error = await call.then(() => new Error('nothing failed'), (reason: unknown) => reason)
  if (error instanceof GenerationFailure) return error
  throw error
}

/** Reads the progress until it is as expected. */
async function progressThat (
  client: A1111Client, isWanted: (progress: ServerProgress) => boolean
): Promise<ServerProgress> {
  for (;;) {
    const progress = await client.progress('task-1')
    if (isWanted(progress)) return progress
  }
}

t.test('every image of a generation arrives complete, with the server\'s info', async t => {
  const { client } = await start(t, { noise: true })
  const { images, options } = collect()
  const answer = await client.generate('txt2img', request({ batch_size: 2, n_iter: 2, width: 512, height: 256 }), options)
  t.equal(answer.imageCount, 4)
  t.match(answer.info, { seed: 7, all_seeds: [7, 8, 9, 10], width: 512 })
  t.match(answer.parameters, { steps: 20, force_task_id: 'task-1' })
  for (const image of images) {
    const { width, height, format } = await sharp(image).metadata()
    t.strictSame({ width, height, format }, { width: 512, height: 256, format: 'png' })
    await sharp(image).raw().toBuffer()
  }
})

t.test('the kind and lists of every server are recognized', async t => {
  const flavors: Array<[options: SimulatorOptions, capabilities: object]> = [
    [{ flavor: 'a1111' }, { progress: true, taskProgress: true, interrupt: true, img2img: true }],
    [{ flavor: 'a1111', internalProgress: false }, { progress: true, taskProgress: false, interrupt: true, img2img: true }],
    [{ flavor: 'forge' }, { progress: true, taskProgress: true, interrupt: true, img2img: true }],
    [{ flavor: 'sdcpp' }, { progress: false, taskProgress: false, interrupt: false, img2img: true }]
  ]
  for (const [options, capabilities] of flavors) {
    const { client } = await start(t, options)
    const traits = await probeServer(client, await readRoutes(client))
    t.match(traits, { kind: 'simulator', capabilities }, JSON.stringify(options))
    const inventory = await readInventory(client, traits)
    t.ok(inventory.checkpoints.length > 0 && inventory.samplers.length > 0)
    const missing = options.flavor === 'sdcpp' ? ['controlNetModels', 'controlNetModules', 'embeddings', 'scripts', 'styles', 'vaes'] : []
    t.strictSame([...inventory.missing].sort(), missing)
  }
})

t.test('a server that requires a password differs from one that is down', async t => {
  const { simulator, client } = await start(t, { auth: 'user:secret' }, { username: 'user', password: 'secret' })
  t.match(await probeServer(client), { kind: 'simulator' })
  const thirdParty = createA1111Client({ baseUrl: simulator.url })
  t.teardown(() => thirdParty.close())
  t.match(await failureOf(probeServer(thirdParty)), { failureClass: 'unauthorized' })
  t.match(await failureOf(thirdParty.generate('txt2img', request(), collect().options)), { failureClass: 'unauthorized' })
})

t.test('each fault of a server has its class, and the next generation succeeds', async t => {
  const { simulator, client } = await start(t)
  const cases: Array<[fault: FaultKind, expected: object]> = [
    ['out-of-memory', { failureClass: 'out-of-memory', code: 'out_of_memory', mayBeRunning: false }],
    ['nan', { failureClass: 'request', code: 'nan', mayBeRunning: false }],
    ['exception-group', { failureClass: 'passing', code: 'server_error', mayBeRunning: false }],
    ['bad-gateway', { failureClass: 'server-down', code: 'bad_gateway', mayBeRunning: false }],
    ['gateway-timeout', { failureClass: 'server-down', code: 'bad_gateway', mayBeRunning: true }],
    ['truncated-json', { failureClass: 'passing', code: 'truncated_answer', mayBeRunning: false }],
    ['cut-body', { failureClass: 'passing', code: 'truncated_answer', mayBeRunning: false }],
    ['corrupt-base64', { failureClass: 'bad-answer', code: 'corrupt_image', mayBeRunning: false }]
  ]
  for (const [kind, expected] of cases) {
    simulator.setFaults([{ kind }])
    t.match(await failureOf(client.generate('txt2img', request(), collect().options)), expected, kind)
    t.match(await client.generate('txt2img', request(), collect().options), { imageCount: 1 }, `after ${kind}`)
  }
  simulator.setFaults([{ kind: 'cuda-poisoned' }])
  const poisoned = { failureClass: 'server-down', code: 'cuda_poisoned' }
  t.match(await failureOf(client.generate('txt2img', request(), collect().options)), poisoned)
  t.match(await failureOf(client.generate('txt2img', request(), collect().options)), poisoned)
})

t.test('a server that dies is down, at whatever moment it dies', async t => {
  for (const kind of ['crash-before', 'crash-mid', 'crash-after'] as const) {
    const { simulator, client } = await start(t)
    simulator.setFaults([{ kind, refuseMilliseconds: 60_000 }])
    t.match(await failureOf(client.generate('txt2img', request(), collect().options)),
      { failureClass: 'server-down', code: 'connection_lost', mayBeRunning: true }, kind)
    t.match(await failureOf(client.readJson('/sdapi/v1/options')), { failureClass: 'server-down', code: /^connection_/ })
  }
})

t.test('a rejection by A1111 is the request\'s own fault, in A1111\'s words', async t => {
  const words: Array<[flavor: 'a1111' | 'forge', body: Record<string, unknown>, says: RegExp]> = [
    ['a1111', { steps: 'abc' }, /steps: value is not a valid integer/],
    ['forge', { steps: 'abc' }, /steps: Input should be a valid integer/],
    ['a1111', { script_name: 'nope' }, /Script 'nope' not found/],
    ['forge', { script_name: 'nope' }, /Script 'nope' not found/],
    ['a1111', { steps: 0 }, /ZeroDivisionError/]
  ]
  for (const [flavor, body, message] of words) {
    const { client } = await start(t, { flavor })
    t.match(await failureOf(client.generate('txt2img', request(body), collect().options)), { failureClass: 'request', message })
  }
})

t.test('a running generation shows its progress and can be interrupted', async t => {
  const { simulator, client } = await start(t, { speed: 1, stepMilliseconds: 5 })
  simulator.setFaults([{ kind: 'hang', afterSteps: 5 }])
  const { images, options } = collect()
  const generation = client.generate('txt2img', request(), options)
  const progress = await progressThat(client, ({ step }) => step === 4)
  t.match(progress, { task: 'running', busy: true, step: 4, steps: 20 })
  t.equal(progress.fraction.toFixed(2), '0.20')
  t.match(await probeServer(client), { kind: 'simulator' }, 'a busy server can be probed')
  t.match(await client.progress('another'), { task: 'gone', busy: true, fraction: 0 })
  await client.interrupt()
  simulator.setFaults([])
  t.equal((await generation).imageCount, images.length)
  t.match(simulator.state(), { interrupts: 1, generations: [{ interrupted: true }] })
  t.match(await client.progress('task-1'), { task: 'gone', busy: false })
})

t.test('a generation that we abandon continues, and can be watched', async t => {
  const { simulator, client } = await start(t)
  simulator.setFaults([{ kind: 'hang', afterSteps: 5 }])
  const leave = new AbortController()
  const generation = failureOf(client.generate('txt2img', request(), { ...collect().options, signal: leave.signal }))
  await progressThat(client, ({ step }) => step === 4)
  leave.abort()
  t.match(await generation, { failureClass: 'cancelled', mayBeRunning: true })
  t.match(await client.progress('task-1'), { task: 'running', busy: true })
  simulator.setFaults([])
  await progressThat(client, ({ task, busy }) => task === 'gone' && !busy)
  t.match(simulator.state(), { generations: [{ outcome: 'done' }] })
})

t.test('a person\'s job ahead is recognized, and ours waits behind it', async t => {
  const { simulator, client } = await start(t, { speed: 1, stepMilliseconds: 5 })
  simulator.setFaults([{ kind: 'hang', prompt: 'by hand' }])
  simulator.startBrowserJob({ prompt: 'by hand' })
  await progressThat(client, ({ busy }) => busy)
  const generation = client.generate('txt2img', request({ steps: 1 }), collect().options)
  t.match(await progressThat(client, ({ task }) => task === 'queued'), { busy: true, fraction: 0, step: null })
  simulator.setFaults([])
  t.match(await generation, { imageCount: 1 })
})
