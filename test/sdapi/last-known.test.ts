import t from 'tap'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { onNotices, startService, type Service } from '../helper.ts'
import { call, type Fields } from './client.ts'

const paths = [
  'samplers', 'schedulers', 'upscalers', 'latent-upscale-modes', 'sd-models', 'sd-vae', 'hypernetworks', 'face-restorers',
  'realesrgan-models', 'prompt-styles', 'script-info', 'extensions', 'loras', 'embeddings', 'scripts', 'options',
  'cmd-flags', 'memory'
].map(name => `/sdapi/v1/${name}`).concat(['/controlnet/model_list', '/controlnet/module_list', '/controlnet/version'])

async function untilReachable (service: Service, wanted: string): Promise<void> {
  const [server] = service.services.registry.list()
  await onNotices(service.services, async () =>
    (await service.services.states.read(server?.id ?? ''))?.reachable === wanted || undefined)
}

t.test('while the only server is away, clients get its last lists', async t => {
  const settings = { MASTER_KEY: Buffer.alloc(32, 7).toString('base64') }
  const service = await startService(t, { settings })
  const before = await Promise.all(paths.map(async path => await call(service, 'GET', path)))
  t.ok(before.every(({ status }) => status === 200))
  await service.simulator.close()
  await untilReachable(service, 'no')
  for (const [index, path] of paths.entries()) {
    t.same(await call(service, 'GET', path), before[index], path)
  }
  const later = await startService(t, { redis: service.redis, servers: {}, worker: 'none', settings })
  for (const [index, path] of paths.entries()) {
    t.same(await call(later, 'GET', path), before[index], `${path} after our own restart`)
  }
})

t.test('lists that no client has requested are known too', async t => {
  const service = await startService(t)
  const known = async () => {
    const [server] = service.services.registry.list()
    return await service.services.redis.hlen(service.services.keys.key('server', server?.id ?? '', 'answers'))
  }
  while (await known() < 20) await new Promise(resolve => { setTimeout(resolve, 20) })
  await service.simulator.close()
  await untilReachable(service, 'no')
  for (const path of paths) {
    const { status, json } = await call<Fields | unknown[]>(service, 'GET', path)
    t.equal(status, 200, path)
    t.ok(path.endsWith('hypernetworks') || path.endsWith('extensions') || Object.keys(json).length > 0, path)
  }
})

t.test('the inventory replaces lists that were never read', async t => {
  const service = await startService(t)
  const { redis, keys, registry } = service.services
  const real = (await call<Fields[]>(service, 'GET', '/sdapi/v1/sd-models')).json.map(({ title }) => title)
  await service.simulator.close()
  await untilReachable(service, 'no')
  await redis.del(keys.key('server', registry.list()[0]?.id ?? '', 'answers'))
  t.same((await call<Fields[]>(service, 'GET', '/sdapi/v1/sd-models')).json.map(({ title }) => title), real)
  t.ok((await call<Fields[]>(service, 'GET', '/sdapi/v1/samplers')).json.length > 10)
  t.match((await call(service, 'GET', '/controlnet/model_list')).json, { model_list: Array })
})

t.test('the description of the page names the upscalers', async t => {
  const service = await startService(t)
  const { components } = (await call<{ components: Array<{ props: { elem_id: string, choices: string[] } }> }>(service, 'GET', '/config')).json
  const choicesOf = (id: string) => components.find(({ props }) => props.elem_id === id)?.props.choices ?? []
  const names = async (list: string) =>
    (await call<Array<{ name: string }>>(service, 'GET', `/sdapi/v1/${list}`)).json.map(({ name }) => name)
  const upscalers = await names('upscalers')
  t.same(choicesOf('txt2img_hr_upscaler'), [...await names('latent-upscale-modes'), ...upscalers])
  t.same(choicesOf('extras_upscaler_1'), upscalers)
  t.same(choicesOf('txt2img_sampling'), await names('samplers'))
  const direct = await (await fetch(`${service.simulator.url}/config`)).json() as { components: typeof components }
  const shown = direct.components.find(({ props }) => props.elem_id === 'txt2img_hr_upscaler')
  t.same(shown?.props.choices, choicesOf('txt2img_hr_upscaler'), 'as on the server\'s own page')
})

t.test('without the extension its routes do not exist', async t => {
  const bare = await startSimulator({ stepMilliseconds: 1, controlNet: false })
  t.teardown(bare.close)
  const service = await startService(t, { servers: { Bare: bare.url } })
  for (const path of ['model_list', 'module_list', 'version', 'settings', 'control_types']) {
    t.same(await call(service, 'GET', `/controlnet/${path}`), { status: 404, json: { detail: 'Not Found' } }, path)
  }
  t.same(await call(service, 'POST', '/controlnet/detect', {}), { status: 404, json: { detail: 'Not Found' } })
})
