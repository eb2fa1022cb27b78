import t from 'tap'
import { startBench } from './client.ts'

/** Requests of a kind, and what Forge f2.0.1 answers by its sources. */
const table: ReadonlyArray<readonly [method: 'get' | 'post', path: string, body: object | null, status: number, answer: object]> = [
  ['post', '/internal/progress', {}, 200, { active: true, queued: false, completed: false }],
  ['post', '/internal/progress', { id_task: 'unknown' }, 200, { active: false, textinfo: 'Waiting...', id_live_preview: -1 }],
  ['get', '/internal/pending-tasks', null, 200, { size: 0, tasks: [] }],
  ['get', '/sdapi/v1/cmd-flags', null, 500, { error: 'ResponseValidationError' }],
  ['get', '/sdapi/v1/progress', null, 200, { progress: 0, eta_relative: 0, current_image: null }],
  ['get', '/sdapi/v1/sd-vae', null, 404, { detail: 'Not Found' }],
  ['post', '/sdapi/v1/txt2img', { script_name: 'nope' }, 422, { detail: 'Script \'nope\' not found' }],
  ['post', '/sdapi/v1/txt2img', { alwayson_scripts: { nope: { args: [] } } }, 422, { detail: 'Script \'nope\' not found' }],
  ['post', '/sdapi/v1/txt2img', { enable_hr: true, hr_upscaler: 'nope' }, 500, { error: 'Exception', message: 'could not find upscaler named nope' }],
  ['post', '/sdapi/v1/img2img', {}, 404, { detail: 'Init image not found' }],
  ['post', '/sdapi/v1/extra-single-image', { upscaler_1: 'nope', image: 'not base64!' }, 500, { detail: 'Invalid encoded image' }],
  ['post', '/sdapi/v1/interrogate', {}, 500, { detail: 'Invalid encoded image' }]
]

t.test('what Forge answers by its sources, its simulator answers too', async t => {
  const bench = await startBench(t, { flavor: 'forge' })
  for (const [method, path, body, status, answer] of table) {
    const reply = method === 'get' ? await bench.get(path) : await bench.post(path, body)
    t.match({ status: reply.status, json: reply.json }, { status, json: answer }, `${path} ${JSON.stringify(body)}`)
  }
})
