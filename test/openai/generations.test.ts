import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import t from 'tap'
import { onNotices, startService } from '../helper.ts'
import { bearer, type Failure, type Fields, type Images, small } from './client.ts'

const service = await startService(t, { settings: { JOB_ATTEMPTS: '1' } })
const { request, job } = service
const key = await bearer(service)
const post = async (body: unknown, headers: Record<string, string> = {}) =>
  await request('POST', '/v1/images/generations', body, { ...key, ...headers })
const generate = async (fields: Fields = {}, headers: Record<string, string> = {}) => {
  const { status, headers: sent, body } = await post({ ...small, ...fields }, headers)
  if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`)
  return { images: body as unknown as Images, id: String(sent.get('x-job-id')), headers: sent }
}
const opened = async (base64: string | undefined) => {
  const { format, width, height } = await sharp(Buffer.from(base64 ?? '', 'base64')).metadata()
  return { format, width, height }
}

t.test('a prompt alone gives an image, as base64 and by a link', async t => {
  const { images: { data: [image, ...others], ...traits } } = await generate()
  t.strictSame(others, [])
  t.strictSame(await opened(image?.b64_json), { format: 'png', width: 64, height: 64 })
  t.equal((await fetch(String(image?.url))).status, 200)
  t.match(traits, { created: Number, size: '64x64', quality: 'low', output_format: 'png', background: 'opaque', usage: { total_tokens: 0 } })
  const { body } = await post({ prompt: 'a lighthouse' })
  t.match(body, { size: /^\d+x\d+$/, data: [{ b64_json: String }] })
})

t.test('the fields become those of one job', async t => {
  const { images, id } = await generate({ n: 4, size: '128x64', quality: 'hd', user: 'ann', response_format: 'b64_json' })
  t.equal(images.data.length, 4)
  t.match(images, { quality: 'high', size: '128x64' })
  t.notOk(images.data.some(({ url }) => url !== undefined))
  const body = await job(id)
  t.match(body, {
    status: 'completed',
    user_id: 'ann',
    channel: 'openai',
    generation_params: { prompt: 'a lighthouse', width: 128, height: 64, steps: 40, batch_size: 4, n_iter: 1 }
  })
  const { body: { jobs } } = await request('GET', '/api/v2/jobs?user=ann')
  t.match(jobs, [{ id }])
})

t.test('null means what a missing field means', async t => {
  const names = ['n', 'quality', 'model', 'response_format', 'user', 'style', 'stream', 'background', 'output_format']
  const { images } = await generate(Object.fromEntries(names.map(name => [name, null])))
  t.equal(images.data.length, 1)
})

t.test('model is a checkpoint by any of its names', async t => {
  const { body: { data } } = await request('GET', '/v1/models', undefined, key) as unknown as { body: { data: Array<{ id: string }> } }
  t.ok(data.length > 1)
  for (const { id } of data) {
    const { id: jobId } = await generate({ model: id })
    const { checkpoint_used: used } = await job(jobId)
    t.ok(String(used).toLowerCase().includes(String(id.split('/').at(-1)).toLowerCase().replace(/\.\w+$/, '')), `${id}: ${String(used)}`)
    t.match(await request('GET', `/v1/models/${encodeURIComponent(id)}`, undefined, key), {
      status: 200, body: { id, object: 'model', created: Number, owned_by: String }
    })
  }
  for (const name of ['dall-e-3', 'gpt-image-1', 'gpt-image-1.5', 'chatgpt-image-latest']) await generate({ model: name })
  const unknown = { error: { code: 'model_not_found', type: 'invalid_request_error', param: 'model', message: /no-such-model/ } }
  t.match(await post({ ...small, model: 'no-such-model' }), { status: 404, body: unknown })
  t.match(await request('GET', '/v1/models/no-such-model', undefined, key), { status: 404, body: unknown })
})

t.test('what OpenAI\'s models answer is what clients of their names get', async t => {
  t.match((await generate({ model: 'dall-e-3' })).images.data, [{ url: String, b64_json: undefined }])
  t.match((await generate({ model: 'gpt-image-1' })).images.data, [{ url: undefined, b64_json: String }])
  t.match((await generate({ model: 'gpt-image-1', response_format: 'url' })).images.data, [{ url: String, b64_json: undefined }])
})

t.test('images come in the format that was asked for', async t => {
  for (const format of ['png', 'jpeg', 'webp']) {
    const { images } = await generate({ output_format: format, ...(format === 'png' ? {} : { output_compression: 60 }) })
    t.equal(images.output_format, format)
    t.match(await opened(images.data[0]?.b64_json), { format, width: 64 })
    t.equal((await fetch(String(images.data[0]?.url))).headers.get('content-type'), `image/${format}`)
  }
})

t.test('a link to an image works without a key, and says when it does no more', async t => {
  const { images: { data: [image] } } = await generate({ response_format: 'url' })
  const url = new URL(String(image?.url))
  const exp = Number(url.searchParams.get('exp'))
  t.ok(exp > Date.now() / 1000 + 3500 && exp < Date.now() / 1000 + 3700, 'an hour')
  const answer = await fetch(url, { headers: { origin: 'https://chat.example', 'sec-fetch-site': 'cross-site' } })
  t.match(await opened(Buffer.from(await answer.arrayBuffer()).toString('base64')), { format: 'png', width: 64 })
  const name = String(url.pathname.split('/').at(-1))
  const past = service.services.imageUrls.sign('', name, Date.now() - 60_000).replace('/outputs/', '/v1/images/results/')
  t.match(await request('GET', past), { status: 403, body: { error: { message: /expired at .*Ask for the image again/ } } })
  for (const [param, value] of [['sig', 'x'], ['exp', String(exp + 1000)]] as const) {
    const changed = new URL(url)
    changed.searchParams.set(param, value)
    t.match(await request('GET', changed.pathname + changed.search, undefined, key), { status: 403, body: { error: { message: /not genuine/ } } })
  }
  t.match(await request('GET', url.pathname), { status: 403 }, 'not even at this machine without a signature')
})

t.test('each wrong field is refused in OpenAI\'s words', async t => {
  for (const [fields, param, code] of [
    [{ prompt: undefined }, 'prompt', 'missing_required_parameter'],
    [{ prompt: '' }, 'prompt', 'empty_string'],
    [{ prompt: 5 }, 'prompt', 'invalid_type'],
    [{ prompt: 'x'.repeat(32_001) }, 'prompt', 'string_above_max_length'],
    [{ n: 0 }, 'n', 'integer_below_min_value'],
    [{ n: 11 }, 'n', 'integer_above_max_value'],
    [{ n: '2' }, 'n', 'invalid_type'],
    [{ n: 1.5 }, 'n', 'invalid_type'],
    [{ size: 'large' }, 'size', 'invalid_value'],
    [{ size: '100x100' }, 'size', 'invalid_value'],
    [{ size: '0x64' }, 'size', 'invalid_value'],
    [{ size: '32768x32768' }, 'size', 'invalid_value'],
    [{ quality: 'best' }, 'quality', 'invalid_value'],
    [{ response_format: 'png' }, 'response_format', 'invalid_value'],
    [{ background: 'transparent' }, 'background', 'invalid_value'],
    [{ output_format: 'gif' }, 'output_format', 'invalid_value'],
    [{ output_compression: 50 }, 'output_compression', 'invalid_value'],
    [{ output_format: 'png', output_compression: 50 }, 'output_compression', 'invalid_value'],
    [{ partial_images: 2 }, 'partial_images', 'invalid_value'],
    [{ stream: true, partial_images: 4 }, 'partial_images', 'integer_above_max_value'],
    [{ style: 'grim' }, 'style', 'invalid_value'],
    [{ negative_promt: 'x' }, 'negative_promt', 'unknown_parameter'],
    [{ prompt: undefined, promt: 'x' }, 'promt', 'unknown_parameter']
  ] as const) {
    const { status, body } = await post({ ...small, ...fields })
    t.match({ status, body }, { status: 400, body: { error: { type: 'invalid_request_error', param, code } } }, JSON.stringify(body).slice(0, 300))
    t.match((body as unknown as Failure).error.message, param === 'size' ? /size|pixels/ : param)
  }
  t.match(await post('{"prompt": '), { status: 400, body: { error: { type: 'invalid_request_error', code: 'malformed_request' } } })
  t.match(await post('[1]'), { status: 400, body: { error: { code: 'invalid_type' } } })
})

t.test('a repeat with the same Idempotency-Key gets the same job', async t => {
  const headers = { 'idempotency-key': 'one' }
  const [first, second] = await Promise.all([generate({}, headers), generate({}, headers)])
  const third = await generate({}, headers)
  t.strictSame([second.id, third.id], [first.id, first.id])
  t.strictSame(third.images.data[0]?.b64_json, first.images.data[0]?.b64_json)
  t.equal(third.headers.get('idempotency-replayed'), 'true')
  t.match(await post({ ...small, prompt: 'another' }, headers), { status: 400, body: { error: { code: 'idempotency_key_reused' } } })
  const other = await bearer(service)
  t.not((await generate({}, { ...headers, ...other })).id, first.id, 'of the same key')
})

t.test('a job that fails is an error that the packages do not repeat', async t => {
  service.simulator.setFaults([{ kind: 'runtime-error', message: 'the cat sat on the GPU' }])
  const { status, headers, body } = await post(small)
  t.match({ status, body }, { status: 500, body: { error: { type: 'server_error', message: /the cat sat/, code: String } } })
  t.equal(headers.get('x-should-retry'), 'false')
})

t.test('a job that is cancelled or deleted ends its request', async t => {
  await request('PUT', '/api/v1/settings/queue-processing', { enabled: false })
  t.teardown(async () => await request('PUT', '/api/v1/settings/queue-processing', { enabled: true }))
  for (const [method, end, code] of [['POST', '/cancel', 'job_cancelled'], ['DELETE', '', 'job_deleted']] as const) {
    const answer = post(small)
    await onNotices(service.services, async () => {
      const [waiting] = (await request('GET', '/api/v2/jobs?status=pending')).body.jobs as Array<{ id: string }>
      if (waiting === undefined) return undefined
      if (method === 'DELETE') await request('POST', `/api/v2/jobs/${waiting.id}/cancel`)
      return (await request(method, `/api/v2/jobs/${waiting.id}${end}`)).status
    })
    t.match(await answer, { status: 409, body: { error: { code: method === 'DELETE' ? /^job_(?:deleted|cancelled)$/ : code } } })
  }
})

t.test('a repeat after its images were deleted says so, and is no fault of the service', async t => {
  const missing = { status: 404, body: { error: { type: 'invalid_request_error', code: 'image_not_found', message: /no longer there/ } } }
  for (const [name, remove] of [
    ['by people', async (image: string) => await request('DELETE', `/api/v1/gallery/images/${image}`)],
    ['from the storage', async (image: string) => { await rm(join(service.dataDirectory, 'outputs', image)) }]
  ] as const) {
    const headers = { 'idempotency-key': name }
    const { id } = await generate({}, headers)
    await remove(String((await job(id)).images[0]?.filename))
    const { status, headers: answered, body } = await post(small, headers)
    t.match({ status, body }, missing, name)
    t.equal(answered.get('x-should-retry'), 'false')
  }
})

t.test('a client that goes leaves its job, unless its key cancels it', async t => {
  for (const [onHangUp, end] of [['continue', 'completed'], ['cancel', 'cancelled']] as const) {
    await request('PUT', '/api/v1/settings/queue-processing', { enabled: false })
    const headers = await bearer(service, { dropIn: { answer: 'wait', onHangUp, server: null, earlyJobId: false } })
    const gone = new AbortController()
    const answer = fetch(`${service.url}/v1/images/generations`, {
      method: 'POST',
      body: JSON.stringify({ ...small, user: onHangUp }),
      headers: { ...headers, 'content-type': 'application/json' },
      signal: gone.signal
    })
    const id = await onNotices(service.services, async () => {
      const [job] = (await request('GET', `/api/v2/jobs?user=${onHangUp}`)).body.jobs as Array<{ id: string }>
      return job?.id
    })
    gone.abort()
    await t.rejects(answer)
    if (onHangUp === 'continue') await request('PUT', '/api/v1/settings/queue-processing', { enabled: true })
    t.match(await service.until(id, end), { status: end })
    await request('PUT', '/api/v1/settings/queue-processing', { enabled: true })
  }
})

t.end()
