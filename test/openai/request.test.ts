import t from 'tap'
import { ServiceError } from '../../src/lib/errors.ts'
import { toOpenAiFailure } from '../../src/openai/errors.ts'
import { usualSize } from '../../src/openai/models.ts'
import { type ImagesRequest, parametersOf, readImagesCall, sizeLike } from '../../src/openai/request.ts'

const call = (fields: ImagesRequest) => readImagesCall({ prompt: 'x', ...fields })

t.test('images that have a megapixel together are generated at the same time', async t => {
  for (const [n, side, together] of [
    [1, 1024, 1], [4, 512, 4], [10, 512, 2], [3, 512, 3], [7, 512, 1], [6, 768, 1], [10, 256, 10]
  ] as const) {
    const size = { width: side, height: side }
    t.match(parametersOf('x', call({ n }), size), { ...size, batch_size: together, n_iter: n / together }, `${n} of ${side}`)
  }
})

t.test('sizes', async t => {
  t.strictSame(call({ size: '1536x1024' }).size, { width: 1536, height: 1024 })
  t.strictSame(call({ size: ' 512 X 768 ' }).size, { width: 512, height: 768 })
  for (const size of ['auto', 'AUTO', null]) t.equal(call({ size }).size, null)
  t.equal(call({}).size, null)
  for (const size of ['', '512', '512x', '-512x512', '512x511', '8x8', '999999x8', '512x512x3', '1e3x512']) {
    t.throws(() => call({ size }), { code: 'invalid_field_value', details: { field: 'size' } }, size)
  }
  t.strictSame(sizeLike({ width: 4000, height: 3000 }, 1024 * 1024), { width: 1184, height: 888 })
  t.strictSame(sizeLike({ width: 96, height: 64 }, 1024 * 1024), { width: 96, height: 64 })
  t.strictSame(sizeLike({ width: 10, height: 4000 }, 1024 * 1024), { width: 64, height: 4000 })
})

t.test('auto is what the checkpoint was trained for', async t => {
  const catalogue = (baseModel: string | null) => ({
    require: async () => ({ facts: { baseModel } }) as unknown as Awaited<ReturnType<Parameters<typeof usualSize>[0]['require']>>
  })
  for (const [name, base, side] of [
    ['v1-5-pruned', 'SD 1.5', 512], ['dreamer', 'SD 1.5', 512], ['dreamer', 'SD 2.1', 768], ['dreamer', 'Pony', 1024],
    ['dreamer', 'Flux.1 D', 1024], ['dreamer', null, 1024], ['sd_xl_base_1.0', null, 1024], [null, null, 1024]
  ] as const) t.strictSame(await usualSize(catalogue(base), name), { width: side, height: side }, `${name} ${base}`)
})

t.test('quality, model and answer', async t => {
  for (const [quality, steps] of [['low', 10], ['medium', undefined], ['standard', undefined], ['auto', undefined], ['high', 40], ['hd', 40]] as const) {
    t.equal(parametersOf('x', call({ quality }), { width: 64, height: 64 }).steps, steps)
  }
  for (const model of ['dall-e-2', 'dall-e-3', 'gpt-image-1', 'gpt-image-1-mini', 'gpt-image-2-2026-04-21', 'chatgpt-image-latest', '', null]) {
    t.equal(call({ model }).checkpoint, null)
  }
  for (const model of ['dall-e-4', 'my-dall-e-3', 'gpt-image', 'sdxl/dall-e-3']) t.equal(call({ model }).checkpoint, model)
  t.strictSame(call({}).form, { url: true, base64: true })
  t.strictSame(call({ model: 'dall-e-2' }).form, { url: true, base64: false })
  t.strictSame(call({ model: 'dall-e-2', response_format: 'b64_json' }).form, { url: false, base64: true })
})

t.test('an error names OpenAI\'s field, with a status that OpenAI has', async t => {
  for (const [error, status, code, param] of [
    [new ServiceError('checkpoint_not_found', 'none', { field: 'checkpoint_name' }), 404, 'model_not_found', 'model'],
    [new ServiceError('invalid_image', name => `${name} is broken`, { field: 'init_images.0' }), 400, 'invalid_image', 'image'],
    [new ServiceError('no_server_available', 'none'), 503, 'no_server_available', null],
    [new ServiceError('idempotency_key_reused', 'used'), 400, 'idempotency_key_reused', null],
    [new ServiceError('queue_limit_reached', 'full'), 429, 'rate_limit_exceeded', null]
  ] as const) t.match(toOpenAiFailure(error), { status, body: { error: { code, param } } }, code)
  const image = new ServiceError('invalid_image', name => `${name} is broken`, { field: 'init_images.0' })
  t.equal(toOpenAiFailure(image).body.error.message, 'image is broken')
})

t.end()
