import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { type A1111Client, createA1111Client } from '../../src/a1111/client.ts'
import { readInventory } from '../../src/a1111/inventory.ts'
import { probeServer, readRoutes } from '../../src/a1111/probe.ts'
import { GenerationFailure, type ServerTraits } from '../../src/a1111/types.ts'

/** Answers by method and path; a number is a status with FastAPI's body. */
type Routes = Readonly<Record<string, unknown>>

const manyOptions = Object.fromEntries(Array.from({ length: 312 }, (_, index) => [`option_${index}`, index]))
const progress = { progress: 0, eta_relative: 0, state: { job_count: 0 }, current_image: null, textinfo: null }
const task = { active: false, queued: false, completed: false, progress: null, eta: null, textinfo: 'Waiting...' }

const a1111: Routes = {
  'GET /sdapi/v1/options': { ...manyOptions, sd_model_checkpoint: 'dream.safetensors [5ce6cf3d87]' },
  'GET /sdapi/v1/progress': progress,
  'POST /internal/progress': task,
  'GET /sdapi/v1/interrupt': 405,
  'GET /sdapi/v1/img2img': 405,
  'GET /sdapi/v1/sd-models': [
    { title: 'dream.safetensors [5ce6cf3d87]', model_name: 'dream', hash: '5ce6cf3d87', sha256: '5ce6', filename: '/m/dream.safetensors', config: null },
    { title: 'xl/new.safetensors', model_name: 'xl_new', hash: null, sha256: null, filename: '/m/xl/new.safetensors', config: null }
  ],
  'GET /sdapi/v1/samplers': [{ name: 'Euler a', aliases: ['k_euler_a', 'k_euler_ancestral'], options: {} }],
  'GET /sdapi/v1/schedulers': [
    { name: 'karras', label: 'Karras', aliases: null }, { name: 'sgm_uniform', label: 'SGM Uniform', aliases: ['SGMUniform'] }
  ],
  'GET /sdapi/v1/upscalers': [{ name: 'None' }, { name: 'Lanczos', scale: 4 }],
  'GET /sdapi/v1/latent-upscale-modes': [{ name: 'Latent' }],
  'GET /sdapi/v1/sd-vae': [{ model_name: 'fine.vae.pt', filename: '/v/fine.vae.pt' }],
  'GET /sdapi/v1/loras': [
    { name: 'ink', alias: 'inkstyle', path: '/l/ink.safetensors', metadata: { ss_tag_frequency: { a: 1 } } },
    { name: 'bare', alias: '', path: '/l/bare.safetensors', metadata: {} }
  ],
  'GET /sdapi/v1/embeddings': { loaded: { easynegative: { step: 1 } }, skipped: { xlnegative: { step: 2 } } },
  'GET /sdapi/v1/prompt-styles': [{ name: 'sketch', prompt: 'sketch', negative_prompt: '' }],
  'GET /sdapi/v1/scripts': { txt2img: ['x/y/z plot'], img2img: ['loopback'] },
  'GET /controlnet/model_list': { model_list: ['control_v11p_sd15_canny [d14c016b]'] },
  'GET /controlnet/module_list': { module_list: ['none', 'canny'] }
}

async function start (t: Test, routes: Routes): Promise<{ client: A1111Client, seen: string[] }> {
  const seen: string[] = []
  const server = createServer((request, response) => {
    const route = `${request.method} ${request.url?.split('?')[0]}`
    seen.push(route)
    request.resume()
    const found = routes[route] ?? 404
    const status = typeof found === 'number' ? found : 200
    const details: Record<number, string> = { 401: 'Not authenticated', 404: 'Not Found', 405: 'Method Not Allowed' }
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(JSON.stringify(status === 200 ? found : { detail: details[status] ?? 'broken' }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = createA1111Client({ baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}` })
  t.teardown(async () => {
    await client.close()
    server.close()
  })
  return { client, seen }
}

function without (routes: Routes, ...names: string[]): Routes {
  return Object.fromEntries(Object.entries(routes).filter(([name]) => !names.includes(name)))
}

const everything = { progress: true, taskProgress: true, interrupt: true, img2img: true }

t.test('a probe recognizes the kind of a server, and disturbs nothing', async t => {
  const { 'GET /sdapi/v1/options': options } = a1111
  const sdcpp = {
    'GET /sdapi/v1/options': { samples_format: 'png', sd_model_checkpoint: 'one' },
    'GET /sdapi/v1/img2img': 405
  }
  const cases: Array<[name: string, routes: Routes, traits: ServerTraits]> = [
    ['A1111', a1111, { kind: 'a1111', version: null, capabilities: everything, loadedCheckpoint: 'dream.safetensors [5ce6cf3d87]' }],
    ['A1111 --nowebui', without(a1111, 'POST /internal/progress'),
      { kind: 'a1111', version: null, capabilities: { ...everything, taskProgress: false }, loadedCheckpoint: 'dream.safetensors [5ce6cf3d87]' }],
    ['Forge', { ...a1111, 'GET /sdapi/v1/options': { ...options as object, forge_preset: 'sd', sd_model_checkpoint: 'new' } },
      { kind: 'forge', version: null, capabilities: everything, loadedCheckpoint: 'new' }],
    ['the simulator as Forge', {
      ...a1111,
      'GET /simulator/about': { simulator: true, version: '1.10.1' },
      'GET /sdapi/v1/options': { ...manyOptions, forge_preset: 'sd', sd_model_checkpoint: '' }
    }, { kind: 'simulator', simulates: 'forge', version: '1.10.1', capabilities: everything, loadedCheckpoint: null }],
    ['sd.cpp', sdcpp, {
      kind: 'sdcpp',
      version: null,
      capabilities: { progress: false, taskProgress: false, interrupt: false, img2img: true },
      loadedCheckpoint: 'one'
    }]
  ]
  for (const [name, routes, traits] of cases) {
    const { client, seen } = await start(t, routes)
    t.strictSame(await probeServer(client, await readRoutes(client)), traits, name)
    t.notOk(seen.some(route => /POST (?!\/internal\/progress)|refresh|cmd-flags|sysinfo/.test(route)), `${name}: ${seen}`)
  }
})

t.test('a failed probe gives its reason', async t => {
  const codeOf = async (routes: Routes) => {
    const { client } = await start(t, routes)
    return await probeServer(client).then(() => 'nothing failed', (error: unknown) =>
      error instanceof GenerationFailure ? `${error.failureClass} ${error.code}` : error)
  }
  t.equal(await codeOf({ ...a1111, 'GET /sdapi/v1/options': 401 }), 'unauthorized unauthorized')
  t.equal(await codeOf({}), 'server-down route_missing', 'without --api')
  t.equal(await codeOf({ ...a1111, 'GET /sdapi/v1/options': 502 }), 'server-down bad_gateway')
})

t.test('a proxy in front of one route does not affect the others', async t => {
  for (const status of [302, 307, 401, 403, 407, 408, 429, 502, 511]) {
    const { client } = await start(t, {
      ...a1111, 'GET /sdapi/v1/img2img': status, 'GET /sdapi/v1/txt2img': status, 'POST /internal/progress': status
    })
    const routes = await readRoutes(client)
    const traits = await probeServer(client, routes)
    t.match(traits, { kind: 'a1111', capabilities: { taskProgress: false, img2img: true, progress: true } }, `${status}`)
    t.notOk(routes.missing.includes('/sdapi/v1/txt2img'), `${status}`)
  }
})

t.test('an inventory contains every list with the server\'s own names', async t => {
  const { client, seen } = await start(t, a1111)
  const before = Date.now()
  const { readAt, ...lists } = await readInventory(client, await probeServer(client))
  t.ok(readAt >= before && readAt <= Date.now())
  t.strictSame(lists, {
    checkpoints: [
      { title: 'dream.safetensors [5ce6cf3d87]', modelName: 'dream', hash: '5ce6cf3d87', sha256: '5ce6', filename: '/m/dream.safetensors' },
      { title: 'xl/new.safetensors', modelName: 'xl_new', hash: null, sha256: null, filename: '/m/xl/new.safetensors' }
    ],
    samplers: [{ name: 'Euler a', aliases: ['k_euler_a', 'k_euler_ancestral'] }],
    schedulers: [
      { name: 'karras', label: 'Karras', aliases: [] }, { name: 'sgm_uniform', label: 'SGM Uniform', aliases: ['SGMUniform'] }
    ],
    upscalers: ['None', 'Lanczos'],
    latentUpscaleModes: ['Latent'],
    vaes: ['fine.vae.pt'],
    loras: [
      { name: 'ink', alias: 'inkstyle', path: '/l/ink.safetensors' }, { name: 'bare', alias: 'bare', path: '/l/bare.safetensors' }
    ],
    embeddings: ['easynegative', 'xlnegative'],
    styles: ['sketch'],
    scripts: { txt2img: ['x/y/z plot'], img2img: ['loopback'] },
    controlNetModels: ['control_v11p_sd15_canny [d14c016b]'],
    controlNetModules: ['none', 'canny'],
    controlNetUnits: null,
    missing: []
  })
  t.notOk(seen.some(route => route.includes('refresh')))
})

t.test('Forge has modules in place of VAEs', async t => {
  const forge = {
    ...without(a1111, 'GET /sdapi/v1/sd-vae'),
    'GET /sdapi/v1/options': { ...manyOptions, forge_preset: 'flux' },
    'GET /sdapi/v1/sd-modules': [{ model_name: 'ae.safetensors', filename: '/v/ae.safetensors' }]
  }
  const { client, seen } = await start(t, forge)
  t.match(await readInventory(client, await probeServer(client)), { vaes: ['ae.safetensors'], missing: [] })
  t.notOk(seen.includes('GET /sdapi/v1/sd-vae'))

  const asSimulator = await start(t, { ...forge, 'GET /simulator/about': { simulator: true } })
  t.match(await readInventory(asSimulator.client, await probeServer(asSimulator.client)), { vaes: ['ae.safetensors'], missing: [] })
})

t.test('a missing or broken list is named, and the others are read', async t => {
  const { client } = await start(t, {
    ...without(a1111, 'GET /sdapi/v1/schedulers', 'GET /sdapi/v1/sd-vae', 'GET /sdapi/v1/prompt-styles'),
    'GET /sdapi/v1/scripts': 500
  })
  const inventory = await readInventory(client, await probeServer(client))
  t.strictSame([...inventory.missing].sort(), ['schedulers', 'scripts', 'styles', 'vaes'])
  t.match(inventory, { schedulers: [], scripts: { txt2img: [], img2img: [] }, styles: [], vaes: [] })
  t.equal(inventory.checkpoints.length, 2)
})

t.test('half an inventory never counts as complete', async t => {
  const traits = await probeServer((await start(t, a1111)).client)
  for (const [name, status] of [['samplers', 502], ['samplers', 401], ['sd-models', 500]] as const) {
    const { client } = await start(t, { ...a1111, [`GET /sdapi/v1/${name}`]: status })
    await t.rejects(readInventory(client, traits), GenerationFailure, `${name} ${status}`)
  }
})

t.test('LoRA metadata of megabytes does not prevent reading their list', async t => {
  const metadata = { ss_tag_frequency: { folder: Object.fromEntries(Array.from({ length: 20_000 }, (_, n) => [`tag "${n}"`, n])) } }
  const loras = Array.from({ length: 50 }, (_, n) => ({ name: `lora${n}`, alias: `alias${n}`, path: `/l/${n}`, metadata }))
  const { client } = await start(t, { ...a1111, 'GET /sdapi/v1/loras': loras })
  const inventory = await readInventory(client, await probeServer(client))
  t.strictSame(inventory.loras, loras.map(({ metadata, ...lora }) => lora))
})
