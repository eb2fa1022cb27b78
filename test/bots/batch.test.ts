import sharp from 'sharp'
import t from 'tap'
import { WebSocket } from 'undici'
import { onNotices, type JsonBody } from '../helper.ts'
import { testImage, small, startBots } from './studio.ts'

const bots = await startBots(t)
const { request, recorder } = bots
const { user_id: user, ...base } = small

async function batch (body: object) {
  const before = recorder.generations.length
  const { status, body: answer } = await request('POST', '/generate/batch', { user_id: user, base_request: base, ...body })
  if (status !== 200) throw new Error(JSON.stringify(answer))
  const ended = await onNotices(bots.services, async () => {
    const { body: now }: { body: JsonBody } = await request('GET', `/generate/batch/${String(answer.batch_id)}`)
    return now.status === 'completed' || now.status === 'failed' ? now : undefined
  })
  return { answer, ended, asked: recorder.generations.slice(before).map(({ body: asked }) => asked) }
}

t.test('a grid generates every combination from one seed, and shows them labelled', async t => {
  const { answer, ended, asked } = await batch({
    batch_name: 'Which CFG?',
    axes: [{ field: 'cfg_scale', values: [5, 9] }, { field: 'steps', range: { start: 1, stop: 3, step: 1 } }]
  })
  t.match(answer, { status: 'queued', total: 6, message: 'Batch of 6 generations queued successfully' })
  t.same(asked.map(({ cfg_scale: cfg, steps, seed }) => [cfg, steps, seed]),
    [[5, 1, 7], [9, 1, 7], [5, 2, 7], [9, 2, 7], [5, 3, 7], [9, 3, 7]])
  t.match(ended, {
    batch_name: 'Which CFG?', status: 'completed', progress: 1, message: '6 of 6 done', completed: 6, failed: 0, total: 6
  })
  const jobs = ended.jobs as Array<{ label: string, image_urls: string[] }>
  t.equal(jobs[5]?.label, 'steps: 3, cfg_scale: 9')
  const response = await fetch(`${bots.url}${String(ended.grid_url)}`)
  t.equal(response.headers.get('content-type'), 'image/png')
  const { width, height } = await sharp(Buffer.from(await response.arrayBuffer())).metadata()
  t.same([width, height], [2 * 168 + 8, 3 * 100 + 8], 'two across, three down, with room for labels')

  const path = `/jobs/${String(answer.job_id)}`
  t.match((await request('GET', path)).body, { status: 'completed', progress: 1, type: 'batch', user_id: user })
  const result = await request('GET', `${path}/result?format=url`)
  t.same(result.body.images, jobs.flatMap(({ image_urls: urls }) => urls), 'a batch is a job to who knows only jobs')
})

t.test('variations replace fields of the base; axes can address nested fields and replace words', async t => {
  const { asked, ended } = await batch({
    variations: [{ sampler_name: 'Euler a' }, { seed: 99, loras: { 'film-grain': 1 } }],
    axes: [{ field: 'prompt', search: 'lighthouse', values: ['lighthouse', 'windmill'] }],
    seed_mode: 'increment'
  })
  t.same(asked.map(({ prompt, seed }) => [prompt, seed]), [
    ['a lighthouse', 7], ['a windmill', 8], ['a lighthouse <lora:film-grain:1.0>', 99], ['a windmill <lora:film-grain:1.0>', 99]
  ])
  t.same((ended.jobs as Array<{ label: string }>).map(({ label }) => label).slice(0, 2),
    ['sampler_name: Euler a, lighthouse', 'sampler_name: Euler a, windmill'])
  const inside = await batch({
    base_request: { ...base, image: await testImage(64, 64), controlnet_units: [{ model: 'control_v11p_sd15_canny' }] },
    axes: [{ field: 'controlnet_units.0.weight', values: [0.5, 1] }]
  })
  t.match(inside.asked.map(({ alwayson_scripts: scripts }) => scripts), [
    { controlnet: { args: [{ weight: 0.5 }] } }, { controlnet: { args: [{ weight: 1 }] } }
  ])
})

t.test('one wrong cell rejects the whole batch, and the error names the field', async t => {
  const before = (await request('GET', `/sessions/${user}/jobs`)).body.total
  const refused = async (body: object) =>
    (await request('POST', '/generate/batch', { user_id: user, base_request: base, ...body })).body.detail
  t.match(await refused({ axes: [{ field: 'checkpoint', values: ['anime-pastel', 'nothing'] }] }), [{ loc: ['body', 'axes', 0, 'values'], ctx: { nearest: Array } }])
  t.match(await refused({ axes: [{ field: 'controlnet_units.0.weight', values: [9] }] }), [{ loc: ['body', 'axes', 0, 'values'] }])
  t.match(await refused({ variations: [{ cfg_scale: 5 }, { cfg_scale: 99 }] }), [{ type: 'less_than_equal', loc: ['body', 'variations', 1, 'cfg_scale'] }])
  t.match(await refused({ base_request: { prompt: 'x', steps: 999 } }), [{ loc: ['body', 'base_request', 'steps'] }])
  t.match(await refused({ base_request: { prompt: 'x', vae: 'nothing' } }), [{ loc: ['body', 'base_request', 'vae'] }])
  t.match(await refused({ base_request: { prompt: 'x', image: 'nothing' } }), [{ loc: ['body', 'base_request', 'image'] }])
  t.match(await refused({ axes: [{ field: 'stepps', values: [1] }] }), [
    { loc: ['body', 'axes', 0, 'field'], ctx: { nearest: ['steps'] } }
  ])
  const endless = { start: 1, stop: 9, step: 0 }
  t.match(await refused({ axes: [{ field: 'steps', range: endless }] }), [{ loc: ['body', 'axes', 0, 'range'] }])
  t.match(await refused({ axes: [{ field: 'prompt', search: 'cat', values: ['dog'] }] }), [{ loc: ['body', 'axes', 0, 'search'] }])
  const many = Array.from({ length: 15 }, (_, index) => index + 1)
  t.match(await refused({ axes: [{ field: 'steps', values: many }, { field: 'seed', values: many }] }), [{ msg: /225 generations/ }])
  t.equal((await request('GET', `/sessions/${user}/jobs`)).body.total, before)
})

t.test('a WebSocket shows a batch as one job', async t => {
  const { body } = await request('POST', '/generate/batch', {
    user_id: user, base_request: { ...base, steps: 40 }, axes: [{ field: 'seed', values: [1, 2, 3] }]
  })
  const socket = new WebSocket(`${bots.url.replace('http', 'ws')}/ws/jobs/${String(body.batch_id)}`)
  const messages: JsonBody[] = []
  socket.addEventListener('message', ({ data }) => { messages.push(JSON.parse(String(data)) as JsonBody) })
  const code = await new Promise(resolve => { socket.addEventListener('close', event => { resolve(event.code) }) })
  t.equal(code, 1000)
  t.ok(messages.every(({ job_id: id, type }) => id === body.batch_id && type !== undefined))
  t.equal(messages.filter(({ type }) => type === 'completed').length, 1)
  t.match(messages.at(-1), { type: 'completed', progress: 1, message: '3 of 3 done', image_urls: { length: 3 } })
})

t.test('a batch is cancelled as a whole', async t => {
  const slow = { ...base, steps: 150, width: 512, height: 512 }
  const { body } = await request('POST', '/generate/batch', {
    user_id: user, base_request: slow, axes: [{ field: 'seed', values: [1, 2, 3, 4] }]
  })
  t.ok(Number(body.estimated_time) >= 1, 'how long all of it takes')
  const { body: cancelled } = await request('POST', `/jobs/${String(body.job_id)}/cancel`)
  t.equal(cancelled.message, 'Batch cancelled')
  const ended = await onNotices(bots.services, async () => {
    const { body: now } = await request('GET', `/jobs/${String(body.job_id)}`)
    return now.completed_at === null ? undefined : now
  })
  t.equal(ended.status, 'failed')
})

t.test('a batch takes its image from a form, and is deleted with its jobs', async t => {
  const form = new FormData()
  form.set('user_id', user)
  form.set('base_request', JSON.stringify({ prompt: 'the same in winter', steps: 1 }))
  form.set('variations', "[{'denoising_strength': 0.3}, {'denoising_strength': 0.6}]")
  const image = await testImage(64, 64)
  form.set('image', new Blob([new Uint8Array(Buffer.from(image, 'base64'))]), 'start.png')
  const response = await fetch(`${bots.url}/generate/batch`, { method: 'POST', body: form })
  const { batch_id: id } = await response.json() as { batch_id: string }
  t.match(await bots.ended(id), { status: 'completed', message: '2 of 2 done' })
  t.match(recorder.generations.at(-1)?.body, { init_images: [image] })
  const { jobs } = (await request('GET', `/generate/batch/${id}`)).body as { jobs: Array<{ job_id: string }> }
  t.match((await request('DELETE', `/jobs/${id}`)).body, { message: 'Batch deleted' })
  for (const path of [`/jobs/${id}`, `/generate/batch/${id}`, `/jobs/${String(jobs[0]?.job_id)}`]) {
    t.equal((await request('GET', path)).status, 404, path)
  }
})

t.test('a batch without jobs after retention is deleted', async t => {
  const submit = async () => String((await request('POST', '/generate/batch', {
    user_id: user, base_request: { ...base, steps: 1 }, variations: [{}]
  })).body.batch_id)
  const old = await submit()
  const ended = await bots.ended(old)
  t.equal(ended.status, 'completed')
  const { body } = await request('GET', `/generate/batch/${old}`)
  for (const { job_id: id } of body.jobs as Array<{ job_id: string }>) await request('DELETE', `/jobs/${id}`)
  t.match((await request('GET', `/generate/batch/${old}`)).body, { status: 'failed', jobs: [{ message: 'deleted' }] })
  const { redis, keys } = bots.services
  const key = keys.key('studio', 'batch', old)
  await redis.set(key, JSON.stringify({ ...JSON.parse(await redis.get(key) ?? '{}') as object, createdAt: 0 }))
  // Randomly chosen from few, so that a further submission soon finds it.
  for (let count = 0; count < 50 && await redis.exists(key) === 1; count++) await bots.ended(await submit())
  t.equal((await request('GET', `/jobs/${old}`)).status, 404)
})
