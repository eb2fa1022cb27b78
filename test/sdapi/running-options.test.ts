import t from 'tap'
import { quick, startService } from '../helper.ts'
import { call, newKey, type Fields, type Generation } from './client.ts'

const path = '/sdapi/v1/options'

for (const flavor of ['a1111', 'forge'] as const) {
  t.test(`${flavor} shows no client the overrides of a running job, nor keeps them as a client's own settings`, async t => {
    const service = await startService(t, {
      simulator: { flavor, stepMilliseconds: 1, checkpoints: ['one.safetensors', 'two.safetensors'] }
    })
    const { simulator } = service
    const { secret } = await newKey(service)
    const auth = { authorization: `Bearer ${secret}` }
    const ownOptions = async () => {
      const [key = ''] = await service.services.redis.keys(service.services.keys.key('drop-in', 'options', '*'))
      return await service.services.redis.hkeys(key)
    }
    await simulator.changeOptions({ sd_model_checkpoint: 'one.safetensors' })
    await service.until(await service.submit(quick), 'completed')
    simulator.setFaults([{ kind: 'hang' }])
    const id = await service.submit({ ...quick, clip_skip: 2, checkpoint_name: 'two' })
    const now = () => simulator.options().all
    while (now().CLIP_stop_at_last_layers !== 2 || !String(now().sd_model_checkpoint).startsWith('two')) {
      await new Promise(resolve => { setTimeout(resolve, 5) })
    }
    const { json: models } = await call<Fields[]>(service, 'GET', '/sdapi/v1/sd-models', undefined, auth)
    // Options that were read before the job began stay visible for a few seconds.
    await simulator.changeOptions({ samples_format: 'webp' })
    let shown: Fields
    do {
      await new Promise(resolve => { setTimeout(resolve, 200) })
      shown = (await call(service, 'GET', path, undefined, auth)).json
    } while (shown.samples_format !== 'webp')
    t.match(shown, { CLIP_stop_at_last_layers: 1, sd_model_checkpoint: /^one/ })
    t.ok([models[0]?.sha256, ''].includes(shown.sd_checkpoint_hash as string))

    t.equal((await call(service, 'POST', path, { ...shown, eta_noise_seed_delta: 31337 }, auth)).status, 200)
    t.strictSame(await ownOptions(), ['eta_noise_seed_delta'], 'only what differs becomes its own')
    simulator.setFaults([])
    await service.request('POST', `/api/v2/jobs/${id}/cancel`)
    await service.until(id, 'cancelled', 'completed', 'failed')
    const { json } = await call<Generation>(service, 'POST', '/sdapi/v1/txt2img', { ...quick }, auth)
    t.match(JSON.parse(json.info), { sd_model_name: 'one' })
    t.notMatch(json.info, /Clip skip/)

    t.equal((await call(service, 'POST', path, { sd_model_checkpoint: shown.sd_model_checkpoint }, auth)).status, 200)
    t.ok((await ownOptions()).includes('sd_model_checkpoint'), 'one that is asked for by itself does')
    await simulator.changeOptions({ sd_model_checkpoint: 'two.safetensors' })
    const later = await call<Generation>(service, 'POST', '/sdapi/v1/txt2img', { ...quick }, auth)
    t.match(JSON.parse(later.json.info), { sd_model_name: 'one' })
  })
}
