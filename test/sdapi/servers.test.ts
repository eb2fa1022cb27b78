import t from 'tap'
import { withoutSecrets } from '../../src/sdapi/lists.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { quick, startService } from '../helper.ts'
import { base64, call, newKey, type Fields, type Generation } from './client.ts'

t.test('lists are the union of all servers, and a header or a key selects one server', async t => {
  const servers = await Promise.all(['one', 'two'].map(async name =>
    await startSimulator({ stepMilliseconds: 1, checkpoints: [`${name}.safetensors`] })))
  for (const server of servers) t.teardown(server.close)
  const both = await startService(t, { servers: { One: servers[0]?.url ?? '', Two: servers[1]?.url ?? '' } })
  const titles = async (headers = {}) => (await call<Fields[]>(both, 'GET', '/sdapi/v1/sd-models', undefined, headers)).json
    .map(({ model_name: name }) => name)
  t.strictSame((await titles()).sort(), ['one', 'two'])
  t.strictSame(await titles({ 'x-stablequeue-server': 'two' }), ['two'])
  const used = async (body: Fields, headers: Record<string, string> = {}) =>
    (JSON.parse((await call<Generation>(both, 'POST', '/sdapi/v1/txt2img', { ...quick, ...body }, headers)).json.info) as Fields).sd_model_name
  t.equal(await used({}, { 'x-stablequeue-server': 'Two' }), 'two')
  t.equal(await used({ override_settings: { sd_model_checkpoint: 'two' } }), 'two', 'by the checkpoint asked for')
  t.equal(await used({ override_settings: { sd_model_checkpoint: 'one' } }), 'one')
  const { key, secret } = await newKey(both, { drop_in: { server: 'Two' } })
  t.equal(await used({}, { 'x-api-key': key, 'x-api-secret': secret }), 'two', 'by the key')
})

t.test('other routes pass by an allow-list, and dangerous ones only with an administrator\'s permission', async t => {
  const service = await startService(t, { settings: { SDAPI_OPEN_ROUTES: 'reload-checkpoint,/internal/profile-startup,/sdapi/v1/options,/sdapi/v1/train/*,/simulator/*' } })
  const { json: drawn } = await call<Generation>(service, 'POST', '/sdapi/v1/txt2img', quick)
  const { json: larger } = await call(service, 'POST', '/sdapi/v1/extra-single-image', {
    image: drawn.images[0], upscaling_resize: 2, upscaler_1: 'Lanczos'
  })
  t.match(larger, { image: /^iVBOR/, html_info: /Lanczos/ })
  const thirdParty = { image: 'http://169.254.169.254/latest', upscaler_1: 'Lanczos' }
  t.equal((await call(service, 'POST', '/sdapi/v1/extra-single-image', thirdParty)).status, 500, 'nothing is fetched')
  t.match((await call(service, 'GET', '/controlnet/model_list')).json, { model_list: Array })
  t.match((await call(service, 'GET', '/controlnet/version')).json, { version: Number })
  t.match((await call(service, 'POST', '/controlnet/render_openpose_json', [])).status, 200)
  t.equal((await call(service, 'GET', '/internal/profile-startup')).status, 200, 'a path that an administrator has opened')
  t.equal((await call(service, 'GET', '/internal/sysinfo')).status, 404, 'and no other')
  t.match(await call(service, 'GET', '/simulator/about'), { status: 200, json: { simulator: true } }, 'all that is below one')
  t.match(await call(service, 'POST', '/simulator/reset', {}), { status: 200, json: {} })
  t.strictSame((await call(service, 'POST', '/sdapi/v1/options', { CLIP_stop_at_last_layers: 2 })).json, null)
  t.notMatch(service.simulator.state().requests, { 'POST /sdapi/v1/options': Number }, 'what is ours is not passed on all the same')
  t.equal((await call(service, 'POST', '/sdapi/v1/train/embedding', {})).status, 403)
  for (const path of ['/sdapi/v1/train/..%2fserver-kill', '/sdapi/v1/train/%2e%2e/server-kill']) {
    t.not((await call(service, 'POST', path, {})).status, 200, path)
  }
  t.notMatch(service.simulator.state().requests, { 'POST /sdapi/v1/server-kill': Number })
  t.equal((await call(service, 'POST', '/sdapi/v1/unload-checkpoint', {})).status, 403)
  t.equal((await call(service, 'POST', '/sdapi/v1/reload-checkpoint', {})).status, 200)
  t.equal((await call(service, 'POST', '/sdapi/v1/server-kill', {})).status, 403)
  const { key, secret } = await newKey(service)
  const basic = { authorization: `Basic ${base64(`${key}:${secret}`)}` }
  t.equal((await call(service, 'POST', '/sdapi/v1/reload-checkpoint', {}, basic)).status, 403, 'not for every key')
})

t.test('secrets of a server stay there', async t => {
  const server = await startSimulator({ auth: 'somebody:a-secret' })
  t.teardown(server.close)
  const service = await startService(t, { servers: {} })
  const entry = { alias: 'Guarded', apiUrl: server.url, auth: 'somebody:a-secret' }
  t.equal((await service.request('POST', '/api/v1/servers', entry)).status, 201)
  t.equal((await service.request('POST', '/api/v1/servers/Guarded/test')).status, 200)
  const real = { authorization: `Basic ${base64('somebody:a-secret')}` }
  const shown = await (await fetch(`${server.url}/sdapi/v1/cmd-flags`, { headers: real })).json() as Fields
  t.equal(shown.api_auth, 'somebody:a-secret', 'the server itself shows it')
  const { status, json } = await call(service, 'GET', '/sdapi/v1/cmd-flags')
  t.equal(status, 200)
  t.equal(json.api_auth, '')
  t.strictSame(Object.keys(json), Object.keys(shown), 'the names are all still there')
  // Only options of extensions contain secrets, and the simulator has no such extension.
  t.strictSame(withoutSecrets({ civitai_api_key: 'k', hf_token: 't', token_merging_ratio: 0.5, sd_vae: 'None' }),
    { civitai_api_key: '', hf_token: '', token_merging_ratio: 0.5, sd_vae: 'None' })
})
