import t from 'tap'
import sharp from 'sharp'
import { infoOf, imagesOf, small, startBench, type Bench, type Json } from './client.ts'

/** Starts a job that stays at a step until `release` is called. */
async function holdAt (
  bench: Bench, step: number, request: Json = {}
): Promise<{ reply: ReturnType<Bench['txt2img']>, release: () => void }> {
  bench.simulator.setFaults([{ kind: 'hang', afterSteps: step, sticky: true }])
  const reply = bench.txt2img({ steps: 20, ...request })
  const steps = request.steps ?? 20
  await bench.untilProgress((_progress, state) =>
    state.job_count !== 0 && state.sampling_steps === steps && state.sampling_step === step - 1)
  return { reply, release: () => { bench.simulator.setFaults([]) } }
}

t.test('an idle server keeps the values of its last job', async t => {
  const bench = await startBench(t)
  const fresh = (await bench.get('/sdapi/v1/progress')).json
  t.same(Object.keys(fresh), ['progress', 'eta_relative', 'state', 'current_image', 'textinfo'])
  t.same(fresh.state, {
    skipped: false,
    interrupted: false,
    stopping_generation: false,
    job: '',
    job_count: 0,
    job_timestamp: '0',
    job_no: 0,
    sampling_step: 0,
    sampling_steps: 0
  })
  const info = infoOf(await bench.txt2img({ n_iter: 2, steps: 7 }))
  await bench.post('/sdapi/v1/interrupt')
  t.match((await bench.get('/sdapi/v1/progress')).json, {
    progress: 0,
    eta_relative: 0,
    state: { job: '', job_count: 0, job_no: 2, sampling_steps: 7, interrupted: true, job_timestamp: info.job_timestamp }
  })
  const next = await bench.txt2img()
  t.equal(imagesOf(next).length, 1, 'an interrupt while idle does nothing to the next job')
})

t.test('a running job shows its steps, formula and preview', async t => {
  const bench = await startBench(t)
  const held = await holdAt(bench, 12, { width: 256, height: 128, batch_size: 2, n_iter: 2, force_task_id: 'mine' })
  const { json } = await bench.get('/sdapi/v1/progress')
  t.match(json.state, { job: 'Batch 1 out of 2', job_count: 2, job_no: 0, sampling_step: 11, sampling_steps: 20 })
  t.equal(json.progress, 0.01 + 11 / 20 / 2)
  t.ok(Number(json.eta_relative) > 0)
  const preview = await sharp(Buffer.from(String(json.current_image), 'base64')).metadata()
  t.same([preview.format, preview.width, preview.height], ['png', 128, 32], 'a quarter of the size, side by side')
  t.equal((await bench.get('/sdapi/v1/progress?skip_current_image=true')).json.current_image, null)

  const task = (await bench.post('/internal/progress', { id_task: 'mine' })).json
  t.match(task, { active: true, queued: false, completed: false, id_live_preview: 1, textinfo: null })
  t.equal(task.progress, 11 / 20 / 2, 'without the constant of the other route')
  t.match(task.live_preview, /^data:image\/png;base64,/)
  const again = await bench.post('/internal/progress', { id_task: 'mine', id_live_preview: 1 })
  t.equal(again.json.live_preview, null, 'the same preview is not sent twice')
  held.release()
  await held.reply
  t.match((await bench.post('/internal/progress', { id_task: 'mine' })).json, { active: false, completed: true, textinfo: 'Waiting...' })
})

t.test('while the prompt is encoded the steps are still those of the job before', async t => {
  const bench = await startBench(t, { stepMilliseconds: 200 })
  await bench.txt2img({ steps: 2 })
  const reply = bench.txt2img({ steps: 1 })
  const begun = await bench.untilProgress((_progress, state) => state.job_count === 1)
  t.match(begun, { progress: 0.01, state: { job: 'scripts_txt2img', sampling_step: 0, sampling_steps: 2 } })
  await bench.untilProgress((_progress, state) => state.sampling_steps === 1)
  t.equal((await reply).status, 200)
})

t.test('begin shows job_count -1 while a checkpoint loads, and an interrupt then leaves no image', async t => {
  const bench = await startBench(t, { faults: [{ kind: 'hang-loading' }] })
  const reply = bench.txt2img({ override_settings: { sd_model_checkpoint: 'anime-pastel' } })
  const begun = await bench.untilProgress((_progress, state) => state.job_count === -1)
  t.match(begun, { progress: 0.01, state: { job: 'scripts_txt2img', interrupted: false } })
  await bench.post('/sdapi/v1/interrupt')
  bench.simulator.setFaults([])
  const { status, json } = await reply
  t.equal(status, 200)
  t.same(json.images, [])
  t.equal((infoOf(await reply).infotexts as string[]).length, 1)
})

t.test('at any moment the formula is valid and the passes only increase', async t => {
  const bench = await startBench(t, { stepMilliseconds: 2, loadMilliseconds: 20 })
  const reply = bench.txt2img({
    steps: 12, n_iter: 2, enable_hr: true, denoising_strength: 0.6, override_settings: { sd_model_checkpoint: 'anime-pastel' }
  })
  const seen: number[] = []
  await bench.untilProgress((progress, state) => {
    const count = Number(state.job_count)
    const pass = Number(state.job_no)
    const step = Number(state.sampling_step)
    const steps = Number(state.sampling_steps)
    if (count === 0) return seen.length > 0
    const share = count > 0 ? pass / count + (steps > 0 ? step / steps / count : 0) : 0
    t.equal(progress.progress, Math.min(1, 0.01 + share))
    t.ok(count === -1 || count === 4, 'two passes for each of two iterations')
    t.ok(step < 12, 'the last step is never reached')
    t.ok(count === -1 || state.job === (pass < 2 ? 'Batch 1 out of 2' : 'Batch 2 out of 2'))
    seen.push(Number(progress.progress))
    return false
  })
  t.equal((await reply).status, 200)
  t.same(seen, [...seen].sort((a, b) => a - b))
})

t.test('img2img and hires count their steps as A1111 does', async t => {
  const bench = await startBench(t)
  const [image] = (await bench.txt2img()).json.images as [string]
  await bench.post('/sdapi/v1/img2img', small({ steps: 20, denoising_strength: 0.5, init_images: [image] }))
  t.equal(((await bench.get('/sdapi/v1/progress')).json.state as Json).sampling_steps, 11)
  const held = await holdAt(bench, 3, { steps: 12, enable_hr: true, denoising_strength: 0.6 })
  t.match((await bench.get('/sdapi/v1/progress')).json, { progress: 0.01 + 2 / 12 / 2, state: { job_count: 2, job_no: 0 } })
  await bench.post('/sdapi/v1/interrupt')
  held.release()
  const first = await sharp(imagesOf(await held.reply)[0]).metadata()
  t.equal(first.width, 64, 'interrupted in the first pass: not upscaled')
})

t.test('an interrupt ends the job with the finished images, a skip only the iteration', async t => {
  const bench = await startBench(t)
  const held = await holdAt(bench, 5, { n_iter: 4 })
  t.same((await bench.post('/sdapi/v1/interrupt')).json, {})
  held.release()
  const interrupted = await held.reply
  t.equal(interrupted.status, 200)
  t.equal(imagesOf(interrupted).length, 1)
  t.equal((infoOf(interrupted).all_seeds as number[]).length, 4, 'all seeds are listed')
  const whole = await bench.txt2img({ steps: 20 })
  t.not((interrupted.json.images as string[])[0], (whole.json.images as string[])[0], 'a half-done picture is noisy')
  t.equal(bench.simulator.state().generations[0]?.interrupted, true)
  t.equal(bench.simulator.state().interrupts, 1)

  const skipped = await holdAt(bench, 5, { n_iter: 3 })
  t.equal((await bench.post('/sdapi/v1/skip')).text, 'null')
  skipped.release()
  t.equal(imagesOf(await skipped.reply).length, 3)
})

t.test('jobs run in order of arrival, and continue without their client', async t => {
  const bench = await startBench(t)
  const held = await holdAt(bench, 2, { force_task_id: 'first' })
  const abandon = new AbortController()
  const left = fetch(`${bench.simulator.url}/sdapi/v1/txt2img`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(small({ force_task_id: 'left' })),
    signal: abandon.signal
  }).catch(() => undefined)
  const pending = async (): Promise<unknown> => (await bench.get('/internal/pending-tasks')).json.size
  while (await pending() !== 1);
  const second = bench.txt2img({ force_task_id: 'second' })
  while (await pending() !== 2);
  const third = bench.txt2img({ force_task_id: 'third' })
  while (await pending() !== 3);
  t.match((await bench.post('/internal/progress', { id_task: 'second' })).json, { queued: true, textinfo: 'In queue: 2/3' })
  abandon.abort()
  await left
  held.release()
  await Promise.all([held.reply, second, third])
  const { generations, maxInFlight } = bench.simulator.state()
  t.same(generations.map(one => [one.taskId, one.outcome]),
    [['first', 'done'], ['left', 'done'], ['second', 'done'], ['third', 'done']])
  t.equal(maxInFlight, 4)
})

t.test('task bookkeeping has the defects of A1111', async t => {
  const bench = await startBench(t)
  const look = async (task: string): Promise<Json> => (await bench.post('/internal/progress', { id_task: task })).json
  await bench.txt2img({ steps: 0, force_task_id: 'raised' })
  t.match(await look('raised'), { active: true, progress: 0 }, 'a job that raised stays active')
  await bench.post('/sdapi/v1/img2img', small({ init_images: ['@@'], force_task_id: 'broken' }))
  t.match(await look('broken'), { queued: true, textinfo: 'In queue: 1/1' }, 'one that never began stays queued')
  for (let number = 0; number < 17; number += 1) await bench.txt2img({ force_task_id: `task ${number}`, steps: 1 })
  t.match(await look('raised'), { active: false })
  t.match(await look('task 0'), { completed: false }, 'only sixteen finished tasks are remembered')
  t.match(await look('task 1'), { completed: true })
  t.match(await look('never heard of'), { active: false, queued: false, completed: false, progress: null, id_live_preview: -1 })
})

t.test('a full thread pool stalls progress, but not the coroutines', async t => {
  const bench = await startBench(t, { threads: 3 })
  const held = await holdAt(bench, 2)
  const waiting = [bench.txt2img(), bench.txt2img()]
  while (bench.simulator.state().inFlight < 3) await bench.get('/sdapi/v1/loras')
  let isAnswered = false
  const stalled = bench.get('/sdapi/v1/progress').then(() => { isAnswered = true })
  t.equal((await bench.get('/sdapi/v1/loras')).status, 200)
  t.equal((await bench.get('/sdapi/v1/loras')).status, 200)
  t.equal(isAnswered, false)
  held.release()
  await Promise.all([held.reply, ...waiting, stalled])
  t.equal(isAnswered, true)
})

t.test('a person at the browser takes the lock like any client', async t => {
  const bench = await startBench(t, { stepMilliseconds: 5 })
  const { json } = await bench.post('/simulator/human', { steps: 30 })
  const seen = await bench.untilProgress((_progress, state) => state.job !== '')
  t.equal((seen.state as Json).job, json.task)
  t.match(json.task, /^task\(\w+\)$/)
  await bench.txt2img()
  t.same(bench.simulator.state().generations.map(one => one.mode), ['human', 'txt2img'])
})

t.test('--nowebui removes the internal routes', async t => {
  const bench = await startBench(t, { internalProgress: false })
  t.match(await bench.post('/internal/progress', { id_task: 'x' }), { status: 404, json: { detail: 'Not Found' } })
  t.equal((await bench.get('/internal/ping')).status, 404)
  t.equal((await bench.get('/sdapi/v1/progress')).status, 200)
})
