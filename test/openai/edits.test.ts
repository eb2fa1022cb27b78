import sharp from 'sharp'
import t from 'tap'
import { onNotices, startService } from '../helper.ts'
import { bearer, type Fields, type Images, sendForm, small } from './client.ts'

const service = await startService(t, { settings: { RATE_LIMIT_PER_MINUTE: '0' } })
const { request, job } = service
const key = await bearer(service)

const picture = async (width: number, height: number, background: string | { r: number, g: number, b: number, alpha: number } = '#36c') =>
  await sharp({ create: { width, height, channels: typeof background === 'string' ? 3 : 4, background } }).png().toBuffer()
/** Opaque on the left, transparent on the right. */
const mask = async (width: number, height: number) => {
  const data = Buffer.alloc(width * height * 4, 255)
  for (let at = 0; at < width * height; at++) if (at % width >= width / 2) data[at * 4 + 3] = 0
  return await sharp(data, { raw: { width, height, channels: 4 } }).png().toBuffer()
}
const photo = await picture(96, 64)
const edit = async (parts: ReadonlyArray<readonly [string, string | Buffer]>) =>
  await sendForm(service, '/v1/images/edits', [['prompt', 'a red door'], ['quality', 'low'], ...parts], key)

const idOf = ({ headers }: { headers: Headers }) => String(headers.get('x-job-id'))
const parametersOf = async (answer: { headers: Headers }) => (await job(idOf(answer))).generation_params as Fields

/** The pixels that change, from left to right in the first row; from the mask that the job keeps. */
async function maskOf (id: string): Promise<Buffer> {
  const { mask } = (await job(id)).generation_params as { mask: { $media: string } }
  const bytes = await service.services.media.readInput(mask)
  return await sharp(bytes).extractChannel(0).raw().toBuffer()
}

t.test('an image is edited as a whole, in its own proportions', async t => {
  for (const name of ['image', 'image[]']) {
    const answer = await edit([[name, photo], ['n', '2']])
    t.match(answer, { status: 200 }, JSON.stringify(answer.body).slice(0, 300))
    t.match(answer.body, { size: '96x64', data: [{ b64_json: String }, { b64_json: String }] })
    const parameters = await parametersOf(answer)
    t.match(parameters, { prompt: 'a red door', denoising_strength: 0.75, batch_size: 2, steps: 10 })
    t.notOk('mask' in parameters)
  }
  t.match(await parametersOf(await edit([['image', photo], ['input_fidelity', 'high'], ['size', '64x64']])),
    { denoising_strength: 0.45, width: 64, height: 64 })
})

t.test('the transparent part of the mask becomes the white part of A1111\'s', async t => {
  const answer = await edit([['image', photo], ['mask', await mask(96, 64)]])
  t.equal(answer.status, 200, JSON.stringify(answer.body).slice(0, 300))
  const row = (await maskOf(idOf(answer))).subarray(0, 96)
  t.strictSame([...row], Array.from({ length: 96 }, (_none, at) => at < 48 ? 0 : 255))
  t.match(await parametersOf(answer), { inpainting_fill: 1, inpaint_full_res: false })
})

t.test('without a mask, the transparent part of the image is edited', async t => {
  const answer = await edit([['image', await mask(96, 64)]])
  t.equal((await maskOf(idOf(answer)))[95], 255)
  t.match(await parametersOf(answer), { inpainting_fill: 0 })
})

t.test('JSON has images as data URLs, base64 or uploads of any size', async t => {
  const noise = await sharp({ create: { width: 256, height: 192, channels: 3, background: '#888', noise: { type: 'gaussian', mean: 128, sigma: 60 } } }).png().toBuffer()
  t.ok(noise.length > 70_000, 'so large that it is stored while it arrives')
  for (const image of [photo, noise]) {
    const text = image.toString('base64')
    const url = `data:image/png;base64,${text}`
    const ownMask = (await mask(image === photo ? 96 : 256, image === photo ? 64 : 192)).toString('base64')
    for (const sent of [
      { image: text }, { image: [url] }, { images: [{ image_url: url }] }, { image: url, mask: ownMask },
      { images: [{ image_url: url }], mask: { image_url: `data:image/png;base64,${ownMask}` } }
    ]) {
      const answer = await request('POST', '/v1/images/edits', { ...small, size: 'auto', ...sent }, key)
      t.match(answer, { status: 200, body: { size: image === photo ? '96x64' : '256x192' } },
        `${JSON.stringify(Object.keys(sent))} ${JSON.stringify(answer.body).slice(0, 300)}`)
    }
  }
})

t.test('what cannot be edited is refused by field', async t => {
  const opaque = await picture(96, 64)
  for (const [parts, param, code] of [
    [[], 'image', 'missing_required_parameter'],
    [[['image[]', photo], ['image[]', photo]], 'image', 'invalid_value'],
    [[['image', Buffer.from('no image')]], 'image', 'invalid_image'],
    [[['image', photo], ['mask', opaque]], 'mask', 'invalid_value'],
    [[['image', photo], ['mask', await mask(64, 64)]], 'mask', 'invalid_value'],
    [[['image', photo], ['masc', await mask(96, 64)]], 'masc', 'invalid_value'],
    [[['image', photo], ['strength', '1']], 'strength', 'unknown_parameter'],
    [[['image', photo], ['n', 'two']], 'n', 'invalid_type'],
    [[['image', photo], ['background', 'transparent']], 'background', 'invalid_value']
  ] as const) {
    const answer = await edit(parts)
    t.match(answer, { status: 400, body: { error: { type: 'invalid_request_error', param, code } } }, JSON.stringify(answer.body).slice(0, 300))
  }
  for (const [sent, param] of [
    [{ images: [{ file_id: 'file-1' }] }, 'image'], [{ image: 'https://127.0.0.1:1/a.png' }, 'image'], [{ image: 'no base64!' }, 'image'],
    [{ images: [{ image_url: photo.toString('base64') }], mask: { file_id: 'file-1' } }, 'mask'], [{ images: [{}] }, 'image']
  ] as const) {
    const answer = await request('POST', '/v1/images/edits', { ...small, ...sent }, key)
    t.match(answer, { status: 400, body: { error: { param } } }, JSON.stringify([sent, answer.body]).slice(0, 300))
  }
})

t.test('a variation starts from the image without a prompt', async t => {
  const answer = await sendForm(service, '/v1/images/variations', [['image', photo], ['n', '2'], ['response_format', 'url']], key)
  t.match(answer, { status: 200 }, JSON.stringify(answer.body).slice(0, 300))
  t.equal((answer.body as unknown as Images).data.length, 2)
  t.match(await parametersOf(answer), { denoising_strength: 0.6, width: 96, height: 64, init_images: [Object] })
})

t.test('a repeated edit with an Idempotency-Key is the same job', async t => {
  const send = async () => await sendForm(service, '/v1/images/edits', [['prompt', 'x'], ['quality', 'low'], ['image', photo]], { ...key, 'idempotency-key': 'an edit' })
  const [first, second] = [await send(), await send()]
  t.equal(first.status, 200)
  t.equal(idOf(second), idOf(first))
})

interface StreamEvent { readonly name: string, readonly data: Fields & { type: string, b64_json: string } }

const eventsOf = (text: string): StreamEvent[] => text.split('\n\n').slice(0, -1).filter(part => part.startsWith('event:')).map(part => {
  const [head = '', data = ''] = part.split('\n')
  return { name: head.slice('event: '.length), data: JSON.parse(data.slice('data: '.length)) as StreamEvent['data'] }
})

t.test('a stream has previews, then each image', async t => {
  const slow = await startService(t, { redis: service.redis, settings: { REDIS_PREFIX: 'slow', JOB_ATTEMPTS: '1' } })
  const own = await bearer(slow)
  // It stays there until a preview has come.
  slow.simulator.setFaults([{ kind: 'hang', afterSteps: 12 }])
  const answer = await fetch(`${slow.url}/v1/images/generations`, {
    method: 'POST',
    body: JSON.stringify({ prompt: 'x', size: '128x128', stream: true, partial_images: 2, output_format: 'jpeg' }),
    headers: { ...own, 'content-type': 'application/json' }
  })
  t.match(answer.headers.get('content-type'), 'text/event-stream')
  let text = ''
  for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
    text += Buffer.from(chunk).toString()
    if (eventsOf(text).length > 0) slow.simulator.setFaults([])
  }
  const events = eventsOf(text)
  const [last, ...before] = events.toReversed()
  t.match(last, { name: 'image_generation.completed', data: { type: 'image_generation.completed', size: '128x128', output_format: 'jpeg', usage: {}, created_at: Number } })
  t.equal((await sharp(Buffer.from(last?.data.b64_json ?? '', 'base64')).metadata()).format, 'jpeg')
  t.ok(before.length > 0 && before.length <= 2, `${before.length} previews`)
  for (const [index, event] of before.toReversed().entries()) {
    t.match(event, { name: 'image_generation.partial_image', data: { type: 'image_generation.partial_image', partial_image_index: index } })
    t.equal((await sharp(Buffer.from(event.data.b64_json, 'base64')).metadata()).format, 'jpeg')
  }
  const edited = await fetch(`${slow.url}/v1/images/edits`, {
    method: 'POST',
    headers: { ...own, 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'x', size: '64x64', quality: 'low', stream: true, image: photo.toString('base64'), n: 2 })
  })
  t.strictSame(eventsOf(await edited.text()).map(({ name }) => name), ['image_edit.completed', 'image_edit.completed'])

  slow.simulator.setFaults([{ kind: 'runtime-error', message: 'the cat sat on the GPU' }])
  const failing = await fetch(`${slow.url}/v1/images/generations`, {
    method: 'POST', body: JSON.stringify({ ...small, stream: true }), headers: { ...own, 'content-type': 'application/json' }
  })
  t.match(eventsOf(await failing.text()), [{ name: 'error', data: { type: 'error', error: { type: 'server_error', message: /the cat sat/ } } }])
  const refused = await slow.request('POST', '/v1/images/generations', { ...small, stream: true, n: 0 }, own)
  t.equal(refused.status, 400, 'what is wrong is refused before the stream')
})

t.test('a client that leaves a stream leaves its job', async t => {
  const gone = new AbortController()
  const answer = await fetch(`${service.url}/v1/images/generations`, {
    method: 'POST',
    body: JSON.stringify({ ...small, stream: true, user: 'gone' }),
    headers: { ...key, 'content-type': 'application/json' },
    signal: gone.signal
  })
  const id = String(answer.headers.get('x-job-id'))
  gone.abort()
  await onNotices(service.services, async () => (await job(id)).status === 'completed' ? true : undefined)
  t.match(await job(id), { status: 'completed' })
})

t.end()
