import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { quick, startService } from '../helper.ts'

t.test('a picture tells what it was made from, as fields that make it again', async t => {
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

  t.match((await read({ text: 'a house\nSteps: 9, Size: 64x128, Clip skip: 2' })).body.generation_params,
    { prompt: 'a house', steps: '9', width: '64', height: '128', clip_skip: '2' })
  const blank = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
  t.strictSame((await read({ image: blank })).body, { success: true, text: '', generation_params: {} })
  t.match(await read({ image: 'no picture' }), { status: 422, body: { error: 'invalid_image', details: { field: 'image' } } })
  t.match(await read({}), { status: 400, body: { details: { field: 'image' } } })
})
