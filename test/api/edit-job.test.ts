import t from 'tap'
import { quick, startService, type JsonBody } from '../helper.ts'
import { listenTo } from '../events/listener.ts'
import { keyHeaders } from './access-key.ts'

const service = await startService(t)
const { request, submit, until } = service
const setQueues = async (enabled: boolean) => await request('PUT', '/api/v1/settings/queue-processing', { enabled })
const change = async (id: string, body: object, headers = {}) => await request('PATCH', `/api/v2/jobs/${id}`, body, headers)
const parametersOf = async (id: string) => (await service.job(id)).generation_params as JsonBody
const line = async () => ((await request('GET', '/api/v2/queue')).body.waiting as JsonBody[]).map(({ id }) => id)
const picture = (await request('POST', '/sdapi/v1/txt2img', { ...quick })).body.images as string[]

await setQueues(false)

t.test('a waiting job gets another prompt and other parameters, and keeps its place', async t => {
  const listener = await listenTo(`${service.url}/api/v1/events?kinds=changed`)
  t.teardown(listener.close)
  const edited = await submit({ ...quick, prompt: 'a dull meadow', seed: 7, cfg_scale: 4, num_images: 2 })
  const other = await submit({ ...quick, prompt: 'behind it' })
  const before = await line()
  const { status, body } = await change(edited, {
    prompt: 'a bright volcano', generation_params: { steps: 3, batch_count: 3, checkpoint_name: 'anime-pastel' }
  })
  t.equal(status, 200, JSON.stringify(body))
  t.match(await parametersOf(edited), {
    prompt: 'a bright volcano', steps: 3, n_iter: 3, seed: 7, cfg_scale: 4, width: 64, checkpoint_name: /anime-pastel/
  })
  t.match((await service.job(edited)).client_params, { batch_count: 3 })
  t.strictSame(await line(), before)
  t.match(await listener.untilKind('changed'), { job_id: edited, status: 'pending' })
  t.match((await request('GET', '/api/v2/jobs?search=volcano')).body, { total: 1, jobs: [{ id: edited }] })
  t.match((await request('GET', '/api/v2/jobs?search=meadow')).body, { total: 0 })
  t.match((await request('GET', '/api/v2/jobs?search=behind')).body, { total: 1, jobs: [{ id: other }] })

  await change(edited, { generation_params: { cfg_scale: null } })
  t.match(await parametersOf(edited), { cfg_scale: 7, steps: 3, prompt: 'a bright volcano' }, 'null means the default')
})

t.test('what is wrong is refused as at submission, and changes nothing', async t => {
  const id = await submit({ ...quick, prompt: 'unchanged' }, { priority: 5 })
  const key = await keyHeaders(service)
  const wrong: Array<[body: object, status: number, field: string]> = [
    [{ generation_params: { steps: 0 } }, 400, 'generation_params.steps'],
    [{ generation_params: { stepps: 4 } }, 400, 'generation_params.stepps'],
    [{ generation_params: { checkpoint_name: 'nothing-like-it' } }, 422, 'generation_params.checkpoint_name'],
    [{ prompt: 'one', generation_params: { prompt: 'two' } }, 400, 'prompt'],
    [{ prompt: 'one', priority: 11 }, 400, 'priority'],
    [{ prompt: 'one', server: 'Nowhere' }, 404, 'server'],
    [{ place: 'middle' }, 400, 'place'], [{ place: 'first', before: id }, 400, 'before']
  ]
  for (const [body, status, field] of wrong) {
    const answer = await change(id, body)
    t.equal(answer.status, status, JSON.stringify(answer.body))
    t.equal((answer.body.details as { field?: string }).field, field, JSON.stringify(answer.body))
  }
  t.equal((await change(id, { prompt: 'mine now' }, key.headers)).status, 404)
  t.match(await parametersOf(id), { prompt: 'unchanged', steps: 2 })
  t.match(await service.job(id), { priority: 5, status: 'pending' })
})

t.test('an edited job keeps its pictures', async t => {
  const id = await submit({ ...quick, prompt: 'from a picture', init_images: picture })
  const { body } = await change(id, { prompt: 'from the same picture', generation_params: { denoising_strength: 0.4 } })
  t.match(body, { success: true }, JSON.stringify(body))
  await setQueues(true)
  t.match(await until(id, 'completed', 'failed'), { status: 'completed', generation_params: { denoising_strength: 0.4 } })
  await setQueues(false)
})

t.test('what waits runs as it was changed last', async t => {
  const id = await submit({ ...quick, prompt: 'first thought' })
  await Promise.all(['second', 'third', 'fourth'].map(async prompt => await change(id, { prompt })))
  const { prompt } = await parametersOf(id)
  t.ok(['second', 'third', 'fourth'].includes(String(prompt)))
  await setQueues(true)
  const job = await until(id, 'completed')
  t.equal((job.generation_params as JsonBody).prompt, prompt)
  t.match(await change(id, { prompt: 'too late' }), { status: 400, body: { error: 'job_operation_invalid' } })
  await setQueues(false)
})

t.test('a job moves to the front, to the end, and before another', async t => {
  const [one, two, three] = [await submit(quick), await submit(quick), await submit(quick)]
  const ours = async () => (await line()).filter(id => [one, two, three].includes(String(id)))
  t.strictSame(await ours(), [one, two, three])
  await change(one, { place: 'last' })
  t.strictSame(await ours(), [two, three, one])
  await change(one, { place: 'last' })
  t.strictSame(await ours(), [two, three, one], 'it is there already')
  await change(three, { place: 'first' })
  t.strictSame(await ours(), [three, two, one])
  await change(one, { before: two })
  t.strictSame(await ours(), [three, one, two])
  const later = await submit(quick)
  t.equal((await line()).at(-1), later, 'newcomers wait behind the last')
})

t.end()
