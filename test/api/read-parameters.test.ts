import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { quick, startService } from '../helper.ts'
import { pngWithTexts } from '../media/made-images.ts'
import { keyHeaders } from './access-key.ts'

t.test('an image contains its parameters, as fields that can generate it again', async t => {
  const service = await startService(t)
  const read = async (body: object) => await service.request('POST', '/api/v1/read-parameters', body)
  const job = await service.until(await service.submit({
    ...quick, prompt: 'a boat, "quoted"', negative_prompt: 'blurry', seed: 77, sampler_name: 'Euler', cfg_scale: 5.5
  }), 'completed')
  const image = await readFile(join(service.dataDirectory, 'outputs', job.images[0]?.filename ?? ''))
  const found = await read({ image: image.toString('base64') })
  t.match(found, {
    status: 200,
    body: {
      text: /^a boat/,
      generation_params: {
        prompt: 'a boat, "quoted"',
        negative_prompt: 'blurry',
        seed: '77',
        steps: '2',
        cfg_scale: '5.5',
        width: '64',
        height: '64',
        sampler_name: 'Euler'
      }
    }
  })
  const again = await service.until(await service.submit(found.body.generation_params as object as Record<string, unknown>), 'completed')
  t.equal(again.images[0]?.seed, 77)

  const named = async (image: unknown, headers: Record<string, string> = {}) =>
    await service.request('POST', '/api/v1/read-parameters', { image }, headers)
  const name = String(job.images[0]?.filename)
  for (const image of [name, { job_id: job.id }, { job_id: job.id, index: 0 }]) {
    t.strictSame((await named(image)).body, found.body, JSON.stringify(image))
  }
  const { headers } = await keyHeaders(service)
  for (const [image, status, error, field, key] of [
    [name, 404, 'image_not_found', 'image', headers],
    [{ job_id: job.id }, 404, 'job_not_found', 'image.job_id', headers],
    [name.replace(/^.{8}/, 'ffffffff'), 404, 'image_not_found', 'image', {}],
    [{ job_id: job.id, index: 3 }, 400, 'invalid_field_value', 'image.index', {}],
    [{ job: job.id }, 400, 'invalid_field_value', 'image', {}],
    ['https://127.0.0.1:1/a.png', 422, 'invalid_image', 'image', {}]
  ] as const) {
    t.match(await named(image, key), { status, body: { error, details: { field } } }, JSON.stringify(image))
  }

  t.match((await read({ text: 'a house\nSteps: 9, Size: 64x128, Clip skip: 2' })).body.generation_params,
    { prompt: 'a house', steps: '9', width: '64', height: '128', clip_skip: '2' })
  const blank = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
  t.strictSame((await read({ image: blank })).body, { success: true, text: '', generation_params: {} })
  t.match(await read({ image: 'no picture' }), { status: 422, body: { error: 'invalid_image', details: { field: 'image' } } })
  t.match(await read({}), { status: 400, body: { details: { field: 'image' } } })
})

const graph = JSON.stringify({
  1: { class_type: 'KSampler', inputs: { seed: 5, steps: 2, cfg: 6, sampler_name: 'euler', scheduler: 'karras', positive: ['2', 0], negative: ['3', 0], latent_image: ['4', 0] } },
  2: { class_type: 'CLIPTextEncode', inputs: { text: 'a fox' } },
  3: { class_type: 'CLIPTextEncode', inputs: { text: 'blurry' } },
  4: { class_type: 'EmptyLatentImage', inputs: { width: 64, height: 64 } }
})

t.test('parameters by other programs are read on every route that accepts images', async t => {
  const service = await startService(t)
  const read = async (body: object) => await service.request('POST', '/api/v1/read-parameters', body)
  const image = pngWithTexts({ prompt: graph }).toString('base64')
  const expected = { prompt: 'a fox', negative_prompt: 'blurry', seed: '5', width: '64', sampler_name: 'Euler' }
  t.match(await read({ image }), { status: 200, body: { source: 'ComfyUI', text: /^a fox\nNegative prompt: blurry\nSteps: 2, /, generation_params: expected } })
  t.match(await read({ text: graph }), { status: 200, body: { source: 'ComfyUI', generation_params: expected } })

  const info = await service.request('POST', '/sdapi/v1/png-info', { image })
  t.match(info, { status: 200, body: { info: /^a fox\nNegative/, parameters: { Prompt: 'a fox', Seed: '5' } } })

  const job = await service.until(await service.submit({ generation_info_raw: graph }), 'completed')
  t.match(job.generation_params, { prompt: 'a fox', negative_prompt: 'blurry', seed: 5, cfg_scale: 6 })
  const dropIn = await service.request('POST', '/sdapi/v1/txt2img', { infotext: graph, steps: 2 })
  t.match(dropIn, { status: 200, body: { info: /"prompt": ?"a fox"/ } })

  const unknown = '{"tool": "x", "words": "a cat"}'
  t.match(await read({ text: unknown }), { status: 200, body: { text: '', generation_params: {}, notes: [/no program/] } })
  t.match(await read({ image: pngWithTexts({ parameters: unknown }).toString('base64') }), { body: { generation_params: {}, notes: [/no program/] } })
  t.match(await service.request('POST', '/sdapi/v1/png-info', { image: pngWithTexts({ parameters: unknown }).toString('base64') }),
    { status: 200, body: { info: '', items: { notes: /no program/ } } })
  t.match(await service.request('POST', '/api/v2/generate', { target_server_alias: 'Main', generation_info_raw: unknown }),
    { status: 400, body: { error: 'invalid_field_value', details: { field: 'generation_info_raw' } } })
})
