import sharp from 'sharp'
import t from 'tap'
import { readDocument } from '../api/document.ts'
import { startService, type JsonBody } from '../helper.ts'

const service = await startService(t, { simulator: { stepMilliseconds: 1 } })
const { operations, faultOf } = readDocument(service.app)
const ofA1111 = operations.filter(({ tags = [] }) => tags.includes('A1111'))
const drawing = { prompt: 'a lighthouse', steps: 2, width: 64, height: 64 }
const image = (await sharp({ create: { width: 64, height: 64, channels: 3, background: 'grey' } }).png().toBuffer())
  .toString('base64')

/** Bodies for routes that need one. */
const bodies: Readonly<Record<string, JsonBody>> = {
  a1111_txt2img: drawing,
  a1111_img2img: { ...drawing, init_images: [image] },
  a1111_png_info: { image },
  a1111_extra_single_image: { image, upscaling_resize: 2, upscaler_1: 'Lanczos' },
  a1111_extra_batch_images: { imageList: [{ data: image, name: 'one.png' }], upscaling_resize: 2, upscaler_1: 'Lanczos' },
  a1111_interrogate: { image, model: 'clip' },
  a1111_set_options: { CLIP_stop_at_last_layers: 2 },
  a1111_assets_download: { kind: 'other', url: 'https://civitai.com/models/1' },
  a1111_florence: { imageUrl: 'https://example.com/one.png', task: '<CAPTION>' }
}

t.test('the document describes every answer of the drop-in', async t => {
  const shortId = (await service.request('POST', '/sdapi/v1/txt2img', drawing)).headers.get('x-job-id') ?? ''
  const [listed] = (await service.request('GET', '/sdapi/v1/jobs?limit=1')).body as unknown as Array<{ uuid: string }>
  const [checkpoint] = (await service.request('GET', '/api/v1/checkpoints')).body as unknown as Array<{ id: number }>
  const [lora] = (await service.request('GET', '/api/v1/loras')).body as unknown as Array<{ id: number }>
  const ids: Readonly<Record<string, string | number | undefined>> = {
    a1111_job: shortId,
    a1111_jobs_one: listed?.uuid,
    a1111_jobs_cancel: listed?.uuid,
    a1111_checkpoint_details: checkpoint?.id,
    a1111_lora_details: lora?.id,
    a1111_assets_one: checkpoint?.id
  }
  for (const { operationId = '', method, path, responses } of ofA1111) {
    const url = path.replace('{id}', String(ids[operationId]))
    const { statusCode, body } = await service.app.inject({
      method: method as 'GET', url, ...(method === 'POST' ? { payload: bodies[operationId] ?? {} } : {})
    })
    const declared = responses[statusCode]
    const schema = declared?.content?.['application/json']?.schema
    const fault = schema === undefined ? null : faultOf(schema, JSON.parse(body))
    t.match({ declared, fault }, { declared: {}, fault: null }, `${method} ${url} ${statusCode}: ${body.slice(0, 200)}`)
    t.ok(schema !== undefined || body === '', `${method} ${path} says what it answers`)
  }
})

t.test('and every rejection', async t => {
  const refusals: ReadonlyArray<readonly [method: 'GET' | 'POST', url: string, body: JsonBody | undefined]> = [
    ['POST', '/sdapi/v1/txt2img', { ...drawing, steps: 'many' }],
    ['POST', '/sdapi/v1/txt2img', { ...drawing, sampler_name: 'Nothing like it' }],
    ['POST', '/sdapi/v1/img2img', drawing],
    ['GET', '/sdapi/v1/jobs?limit=many', undefined],
    ['POST', '/sdapi/v1/png-info', {}]
  ]
  for (const [method, url, body] of refusals) {
    const operation = ofA1111.find(one => one.method === method && one.path === url.split('?')[0])
    const answer = await service.request(method, url, body)
    t.ok(answer.status >= 400, url)
    const described = operation?.responses.default?.content?.['application/json']?.schema ?? { not: {} }
    t.equal(faultOf(described, answer.body), null, url)
  }
})
