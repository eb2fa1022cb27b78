import t from 'tap'
import { quick, startService } from '../helper.ts'
import { base64, call, newKey, type Fields, type Generation } from './client.ts'

t.test('two clients that alternate checkpoints round after round never get each other\'s', async t => {
  const service = await startService(t, { settings: { RATE_LIMIT_PER_MINUTE: '0' }, simulator: { speed: Infinity } })
  const names = ['dreamscape-v8', 'anime-pastel']
  const used = await Promise.all([0, 1].map(async offset => {
    const { key, secret } = await newKey(service)
    const auth = { authorization: `Basic ${base64(`${key}:${secret}`)}` }
    const wrong: string[] = []
    for (let round = 0; round < 50; round++) {
      const name = names[(round + offset) % 2] ?? ''
      await call(service, 'POST', '/sdapi/v1/options', { sd_model_checkpoint: name }, auth)
      const { json } = await call<Generation>(service, 'POST', '/sdapi/v1/txt2img', { ...quick, steps: 1 }, auth)
      const info = JSON.parse(json.info) as Fields
      if (info.sd_model_name !== name) wrong.push(`${round}: ${String(info.sd_model_name)} for ${name}`)
    }
    return wrong
  }))
  t.strictSame(used, [[], []])
  t.equal(service.simulator.state().generations.length, 100)
})
