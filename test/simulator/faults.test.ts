import t from 'tap'
import { connect } from 'node:net'
import { once } from 'node:events'
import sharp from 'sharp'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { imagesOf, infoOf, small, startBench, type Bench, type Json } from './client.ts'

/** The error code below a failed fetch; undefined if it succeeded. */
async function failureOf (call: Promise<unknown>): Promise<unknown> {
  try {
    await call
    return undefined
  } catch (error) {
    return error instanceof Error && typeof error.cause === 'object' && error.cause !== null && 'code' in error.cause
      ? error.cause.code
      : error
  }
}

async function canConnect (bench: Bench): Promise<boolean> {
  const socket = connect(bench.simulator.port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

for (const kind of ['crash-before', 'crash-mid', 'crash-after'] as const) {
  t.test(`${kind} cuts the connection, rejects new ones and loses the state`, async t => {
    const bench = await startBench(t)
    await bench.txt2img({ force_task_id: 'earlier' })
    bench.simulator.setFaults([{ kind, refuseMilliseconds: 60_000 }])
    t.equal(await failureOf(bench.txt2img()), 'UND_ERR_SOCKET')
    while (await canConnect(bench));
    t.equal(await failureOf(bench.get('/simulator/about')), 'ECONNREFUSED')
    const outcomes = bench.simulator.state().generations.map(one => one.outcome)
    t.same(outcomes, { 'crash-before': ['done'], 'crash-mid': ['done', 'lost'], 'crash-after': ['done', 'done'] }[kind])
  })
}

t.test('after a crash it returns on the same port with its disk but without its memory', async t => {
  const bench = await startBench(t)
  await bench.txt2img({ force_task_id: 'earlier' })
  await bench.post('/sdapi/v1/options', { CLIP_stop_at_last_layers: 2 })
  await bench.simulator.crash(10)
  t.match((await bench.post('/internal/progress', { id_task: 'earlier' })).json, { completed: false })
  t.match((await bench.get('/sdapi/v1/progress')).json.state, { job_timestamp: '0', sampling_steps: 0 })
  t.equal((await bench.get('/sdapi/v1/options')).json.CLIP_stop_at_last_layers, 2)
  t.equal((await bench.txt2img()).status, 200)
  t.equal(bench.simulator.state().crashes, 1)
  await bench.simulator.restart({ checkpoints: ['other.safetensors'], auth: 'a:b' })
  t.equal((await bench.get('/sdapi/v1/sd-models')).status, 401)
  const { text } = await bench.get('/sdapi/v1/sd-models', { authorization: `Basic ${btoa('a:b')}` })
  t.match(JSON.parse(text), [{ title: /^other\.safetensors/ }])
})

t.test('a crash also ends waiting requests', async t => {
  const bench = await startBench(t)
  bench.simulator.setFaults([{ kind: 'hang', sticky: true }])
  const both = [bench.txt2img(), bench.txt2img()].map(failureOf)
  while (bench.simulator.state().inFlight < 2) await bench.get('/internal/ping')
  await bench.simulator.crash(0)
  t.same(await Promise.all(both), ['UND_ERR_SOCKET', 'UND_ERR_SOCKET'])
  t.equal(bench.simulator.state().inFlight, 0)
})

t.test('errors occur once, several times or until they are removed', async t => {
  const bench = await startBench(t)
  bench.simulator.setFaults([{ kind: 'out-of-memory' }])
  const first = await bench.txt2img()
  t.equal(first.status, 500)
  t.match(first.json, { error: 'OutOfMemoryError', detail: '', body: '', errors: /^CUDA out of memory\. Tried to allocate/ })
  t.equal((await bench.txt2img()).status, 200)
  await bench.post('/simulator/faults', { faults: [{ kind: 'nan', sticky: true }] })
  for (let round = 0; round < 3; round += 1) t.equal((await bench.txt2img()).json.error, 'NansException')
  await bench.post('/simulator/faults', { faults: ['exception-group'] })
  t.match((await bench.txt2img()).json,
    { error: 'ExceptionGroup', errors: 'unhandled errors in a TaskGroup (1 sub-exception)' })
  bench.simulator.setFaults([{ kind: 'nan', prompt: 'cursed', sticky: true }])
  t.equal((await bench.txt2img()).status, 200)
  t.equal((await bench.txt2img({ prompt: 'a cursed castle' })).status, 500)
  t.equal((await bench.txt2img({}, { 'x-simulator-fault': 'out-of-memory;afterSteps=2' })).status, 500, 'by header')
  t.match(await bench.post('/simulator/faults', { faults: ['flood'] }),
    { status: 422, json: { detail: /There is no fault "flood"; there are: crash-before/ } })
})

t.test('a server restarts with other models or another password, and a person gets ahead', async t => {
  const bench = await startBench(t)
  bench.simulator.setFaults([{ kind: 'other-models', refuseMilliseconds: 0, checkpoints: ['only.safetensors'] }])
  t.equal(await failureOf(bench.txt2img()), 'UND_ERR_SOCKET')
  while (!await canConnect(bench));
  t.match(JSON.parse((await bench.get('/sdapi/v1/sd-models')).text), [{ title: /^only\.safetensors/ }])
  bench.simulator.setFaults([{ kind: 'human-job', steps: 3 }])
  t.equal((await bench.txt2img({ force_task_id: 'behind' })).status, 200)
  t.match(bench.simulator.state().generations, [{ mode: 'human', outcome: 'done' }, { taskId: 'behind' }])
  bench.simulator.setFaults([{ kind: 'other-password', refuseMilliseconds: 0 }])
  t.equal(await failureOf(bench.txt2img()), 'UND_ERR_SOCKET')
  while (!await canConnect(bench));
  t.equal((await bench.get('/sdapi/v1/options')).status, 401)
  t.equal((await bench.get('/sdapi/v1/options', { authorization: `Basic ${btoa('changed:changed')}` })).status, 200)
})

t.test('the error for an invalid fault says what would be right', async t => {
  const bench = await startBench(t)
  const cases: ReadonlyArray<[faults: unknown, sentence: RegExp]> = [
    ['nan', /Faults are a list of objects/],
    [[{ kind: 'slow', factor: 'three' }], /"factor" of a fault must be a number from 0/],
    [[{ kind: 'nan', probability: 2 }], /"probability" of a fault must be a number from 0 to 1/],
    [[{ kind: 'nan', often: true }], /A fault has no "often"; it may have: kind, times, sticky/],
    [[{ kind: 'other-models', checkpoints: [] }], /must be a list of file names/],
    [[7], /A fault is an object with a "kind"/]
  ]
  for (const [faults, detail] of cases) {
    t.match(await bench.post('/simulator/faults', { faults }), { status: 422, json: { detail } })
  }
  t.same((await bench.get('/simulator/state')).json.faults, [], 'none of them is switched on')
})

t.test('a CUDA error breaks every later job until a restart', async t => {
  const bench = await startBench(t)
  bench.simulator.setFaults([{ kind: 'cuda-poisoned' }])
  for (let round = 0; round < 2; round += 1) {
    t.match((await bench.txt2img()).json, { error: 'RuntimeError', errors: /illegal memory access/ })
  }
  await bench.simulator.crash(0)
  t.equal((await bench.txt2img()).status, 200)
})

t.test('random faults repeat with their seed', async t => {
  const outcomes = async (faultSeed: number): Promise<number[]> => {
    const bench = await startBench(t, { faultSeed, faults: [{ kind: 'nan', probability: 0.5, sticky: true }] })
    const statuses = []
    for (let round = 0; round < 16; round += 1) statuses.push((await bench.txt2img()).status)
    return statuses
  }
  const first = await outcomes(7)
  t.same(await outcomes(7), first)
  t.ok(first.includes(200) && first.includes(500))
  t.strictNotSame(await outcomes(8), first)
})

t.test('answers can break in every way', async t => {
  const bench = await startBench(t)
  const withFault = async (fault: string): Promise<ReturnType<Bench['txt2img']>> =>
    await bench.txt2img({ batch_size: 2 }, { 'x-simulator-fault': fault })
  const bad = await withFault('bad-gateway')
  t.same([bad.status, bad.headers.get('content-type')], [502, 'text/html'])
  t.match(bad.text, '502 Bad Gateway')
  t.equal(bench.simulator.state().generations.length, 0, 'nothing ran behind it')
  t.equal((await withFault('gateway-timeout')).status, 504)
  while (bench.simulator.state().generations[0]?.outcome !== 'done') await bench.get('/internal/ping')
  const truncated = await withFault('truncated-json')
  t.equal(truncated.status, 200)
  t.throws(() => JSON.parse(truncated.text))
  t.equal(await failureOf(withFault('cut-body')), 'UND_ERR_SOCKET')
  t.equal(imagesOf(await withFault('wrong-image-count')).length, 1)
  t.equal(imagesOf(await withFault('wrong-image-count;count=5')).length, 5)
  t.match(((await withFault('corrupt-base64')).json.images as string[])[0], /[^A-Za-z0-9+/=]/)
  await t.rejects(sharp(imagesOf(await withFault('corrupt-image'))[0]).metadata())
  t.not(infoOf(await withFault('wrong-checkpoint')).sd_model_name, 'dreamscape-v8')
  t.not(infoOf(await withFault('wrong-seed')).seed, 123)
  t.equal((await bench.txt2img()).status, 200)
})

t.test('progress can freeze while the job continues, a job can hang, the lock can be stuck', async t => {
  const bench = await startBench(t)
  bench.simulator.setFaults([{ kind: 'progress-freeze' }, { kind: 'hang', afterSteps: 15 }])
  const job = bench.txt2img({ steps: 20 })
  const frozen = await bench.untilProgress((_progress, state) => state.sampling_step === 9)
  for (let look = 0; look < 5; look += 1) {
    t.match((await bench.get('/sdapi/v1/progress')).json.state, { sampling_step: 9 })
  }
  t.equal((frozen.state as Json).sampling_steps, 20)
  bench.simulator.setFaults([])
  t.equal((await job).status, 200)

  bench.simulator.setFaults([{ kind: 'stuck-lock' }])
  const stuck = bench.txt2img({ force_task_id: 'stuck' })
  while (bench.simulator.state().inFlight === 0) await bench.get('/internal/ping')
  t.match((await bench.get('/sdapi/v1/progress')).json, { progress: 0, state: { job_count: 0 } }, 'accepted, never started')
  t.match((await bench.post('/internal/progress', { id_task: 'stuck' })).json, { queued: true })
  await bench.post('/simulator/reset')
  t.equal((await stuck).status, 200)
})

t.test('noise makes answers as large as possible', async t => {
  const bench = await startBench(t, { noise: true })
  const reply = await bench.txt2img({ width: 256, height: 256, batch_size: 2 })
  t.ok(reply.text.length > 2 * 256 * 256 * 3 * 4 / 3)
  const { width, height } = await sharp(imagesOf(reply)[1]).metadata()
  t.same([width, height], [256, 256])
})

t.test('an admin can crash and restart it over HTTP', async t => {
  const bench = await startBench(t)
  t.same((await bench.post('/simulator/restart', { refuseMilliseconds: 0, checkpoints: ['new.safetensors'] })).json,
    { refuseMilliseconds: 0 })
  while (bench.simulator.state().crashes === 0) await new Promise(resolve => { setImmediate(resolve) })
  while (!await canConnect(bench));
  t.match((await bench.get('/simulator/state')).json, { simulator: true, crashes: 1, loadedCheckpoint: 'new.safetensors' })
})

t.test('closing ends everything, also during a crash', async t => {
  const simulator = await startSimulator({ stepMilliseconds: 0, faults: [{ kind: 'hang', sticky: true }] })
  const hanging = failureOf(fetch(`${simulator.url}/sdapi/v1/txt2img`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(small())
  }))
  while (simulator.state().inFlight === 0) await new Promise(resolve => { setImmediate(resolve) })
  const back = simulator.crash(60_000)
  await simulator.close()
  await back
  t.ok(await hanging)
})

t.test('a proxy\'s time limit passes timely answers, and the generation continues behind it otherwise', async t => {
  const bench = await startBench(t)
  bench.simulator.setFaults([
    { kind: 'gateway-timeout', afterMilliseconds: 1500, prompt: 'long', status: 524, sticky: true },
    { kind: 'connection-cut', afterMilliseconds: 50, prompt: 'silent', sticky: true },
    { kind: 'hang', prompt: 'endless', sticky: true }
  ])
  t.equal((await bench.txt2img({ prompt: 'long but quick' })).status, 200)
  const late = await bench.txt2img({ prompt: 'long and endless', force_task_id: 'late' })
  t.equal(late.status, 524)
  t.match(late.text, /Error code 524/)
  t.match((await bench.post('/internal/progress', { id_task: 'late' })).json, { active: true, completed: false })
  t.equal(await failureOf(bench.txt2img({ prompt: 'silent and endless', force_task_id: 'cut' })), 'UND_ERR_SOCKET')
  t.same(bench.simulator.state().sends, { late: 1, cut: 1 })
})

t.test('pages replace an answer, of one generation or of all routes', async t => {
  const bench = await startBench(t)
  for (const [kind, status] of [['forbidden', 403], ['html-answer', 200], ['bad-gateway', 502]] as const) {
    bench.simulator.setFaults([{ kind }])
    const { text, ...answer } = await bench.txt2img()
    t.equal(answer.status, status, kind)
    t.match(text, /^<html>/)
  }
  bench.simulator.setFaults([{ kind: 'missing-route', path: '/sdapi/v1/txt2img', method: 'POST', sticky: true }])
  t.match(await bench.txt2img(), { status: 404, json: { detail: 'Not Found' } })
  t.equal((await bench.get('/sdapi/v1/txt2img')).status, 405, 'only for POST')
  bench.simulator.setFaults([{ kind: 'missing-route', path: '/sdapi/v1/txt2img', status: 405, page: true, times: 1 }])
  t.match((await bench.txt2img()).text, /405 Not Allowed/)
  bench.simulator.setFaults([{ kind: 'proxy-away', count: 2 }])
  const statuses = [await bench.txt2img()]
  for (let look = 0; look < 3; look += 1) statuses.push(await bench.get('/sdapi/v1/options'))
  t.same(statuses.map(({ status }) => status), [502, 502, 502, 200])
  t.same(bench.simulator.state().generations, [])
})

t.test('a plot whose search text is missing in the prompt reports that', async t => {
  const bench = await startBench(t)
  const plot = { script_name: 'X/Y/Z plot', script_args: [7, 'zebra,cat', [], 0, '', [], 0, '', [], true] }
  t.match((await bench.txt2img({ prompt: 'a cat', ...plot })).json, {
    error: 'RuntimeError', errors: 'Prompt S/R did not find zebra in prompt or negative prompt.'
  })
  t.equal((await bench.txt2img({ prompt: 'a zebra', ...plot })).status, 200)
})
