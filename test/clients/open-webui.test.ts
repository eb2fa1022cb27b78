import t from 'tap'
import { startService } from '../helper.ts'
import {
  asking, basic, failNext, jsonOf, listsRead, opened, serverGone, type Fields, type Generation
} from './http.ts'

/** Open WebUI: sends its own credentials or an empty header, and reads `images` and `info` whatever the status. */
const service = await startService(t, { settings: { JOB_ATTEMPTS: '1' } })
await listsRead(service)
const { key, secret } = (await service.request('POST', '/api/v1/api-keys', { name: 'Open WebUI' })).body
const ask = asking(service, basic(`${String(key)}:${String(secret)}`))

async function setModel (model: string): Promise<void> {
  const options = await jsonOf(ask('GET', '/sdapi/v1/options'))
  if (model === options.sd_model_checkpoint) return
  const answer = await ask('POST', '/sdapi/v1/options', { json: { ...options, sd_model_checkpoint: model } })
  if (!answer.ok) throw new Error(String(answer.status))
}

/** For an answer without `images` it returns its error 400 with the name of the missing field. */
async function generations (form: Fields, parameters: Fields = {}): Promise<string[]> {
  const data = { prompt: form.prompt, batch_size: form.n ?? 1, width: 64, height: 64, steps: 3, ...parameters }
  const result = await jsonOf(ask('POST', '/sdapi/v1/txt2img', { json: data }))
  if (!('images' in result) || !('info' in result)) throw new Error("'images'")
  return result.images as Generation['images']
}

t.test('the address is checked with an empty header, and with credentials', async t => {
  t.ok((await asking(service, { authorization: '' })('GET', '/sdapi/v1/options')).ok)
  t.ok((await asking(service, basic(''))('GET', '/sdapi/v1/options')).ok)
  t.ok((await ask('GET', '/sdapi/v1/options')).ok)
})

t.test('lists its models, chooses one and generates with it', async t => {
  const models = await jsonOf<Fields[]>(ask('GET', '/sdapi/v1/sd-models'))
  for (const { title } of models) {
    await setModel(String(title))
    t.equal((await jsonOf(ask('GET', '/sdapi/v1/options'))).sd_model_checkpoint, title)
    t.equal((await generations({ prompt: 'a castle' })).length, 1)
    t.match(service.simulator.state().generations.at(-1), { checkpoint: String(title).replace(/ \[.*/, '') })
  }
})

t.test('several images, and parameters that an administrator adds', async t => {
  const images = await generations({ prompt: 'a castle', n: 2, negative_prompt: 'fog' },
    { cfg_scale: 5, sampler_name: 'DPM++ 2M', scheduler: 'Karras' })
  t.equal(images.length, 2)
  for (const image of images) t.strictSame(await opened(image), { format: 'png', width: 64, height: 64 })
})

t.test('a failure is an error for its user', async t => {
  failNext(service)
  await t.rejects(generations({ prompt: 'a castle' }))
  await t.rejects(generations({ prompt: 'a castle' }, { sampler_name: 'nope' }))
  await t.rejects(generations({ prompt: 'a castle' }, { steps: 'many' }))
  t.equal((await generations({ prompt: 'a castle' })).length, 1)
})

t.test('its models and its choice stay while the server is away', async t => {
  const models = await jsonOf<unknown>(ask('GET', '/sdapi/v1/sd-models'))
  const { sd_model_checkpoint: chosen } = await jsonOf(ask('GET', '/sdapi/v1/options'))
  await serverGone(service)
  t.strictSame(await jsonOf<unknown>(ask('GET', '/sdapi/v1/sd-models')), models)
  t.equal((await jsonOf(ask('GET', '/sdapi/v1/options'))).sd_model_checkpoint, chosen)
})
