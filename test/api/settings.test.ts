import { readdir, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import t from 'tap'
import { quick, startService, type JobBody, type JsonBody } from '../helper.ts'
import { keyHeaders } from './access-key.ts'

const MASTER_KEY = Buffer.alloc(32, 7).toString('base64')
const secrets = {
  MASTER_KEY,
  AUTH_TOKEN: 'a token nobody may see',
  CIVITAI_API_KEY: 'civitai-secret',
  HUGGINGFACE_TOKEN: 'hf-secret'
}
const service = await startService(t, {
  settings: { ...secrets, SERVERS: 'Big=http://someone:pass@word@10.0.0.9:7860', RETENTION_DAYS: '90' },
  simulator: { stepMilliseconds: 15, loadMilliseconds: 0 }
})
/** Another process on the same Redis, without a worker. */
const startOther = async () =>
  await startService(t, { redis: service.redis, worker: 'none', servers: {}, settings: { MASTER_KEY } })
const other = await startOther()
const { request } = service

t.test('settings show their value and source, and no secret', async t => {
  const { status, body } = await request('GET', '/api/v1/settings')
  t.equal(status, 200)
  const settings = new Map((body.in_force as Array<{ name: string }>).map(setting => [setting.name, setting]))
  t.match(settings.get('RETENTION_DAYS'), { value: 90, source: 'environment', default: 0, changeable_as: 'retention_days' })
  t.match(settings.get('JOB_ATTEMPTS'), { value: 3, source: 'default', changeable_as: null, allowed: /1 to 20/ })
  t.match(settings.get('AUTH_TOKEN'), { value: null, default: null, is_secret: true, is_set: true, source: 'environment' })
  t.match(settings.get('ADMIN_TOKEN'), { value: null, is_secret: true, is_set: false })
  t.match(settings.get('SERVERS'), { value: ['Big=http://***@10.0.0.9:7860'] })
  for (const secret of [...Object.values(secrets), 'someone', 'pass@word']) {
    t.notOk(JSON.stringify(body).includes(secret), `${secret.slice(0, 4)}…`)
  }

  const { headers: key } = await keyHeaders(service, { scopes: ['jobs:read', 'jobs:write'] })
  for (const [method, path] of [['GET', ''], ['PUT', ''], ['PUT', '/queue-processing'], ['GET', '/retention'], ['POST', '/retention/purge']]) {
    t.equal((await request(method ?? '', `/api/v1/settings${path}`, method === 'GET' ? undefined : { enabled: true }, key)).status, 403)
  }
})

t.test('with the queue off, running jobs end and none begins, in every process and after a restart', async t => {
  const long = { ...quick, steps: 20 }
  // Longer, so that it still runs when the queue is off, also on a busy machine.
  const running = await service.submit({ ...quick, steps: 150 })
  await service.until(running, 'processing')
  const waiting = [await service.submit(long), await service.submit(long), await service.submit(quick)]
  const off = await other.request('PUT', '/api/v1/settings/queue-processing', { enabled: false })
  t.match(off, { status: 200, body: { success: true, settings: { queueProcessingEnabled: false } } })
  t.match(await service.until(running, 'completed', 'failed'), { status: 'completed' })
  const restarted = await startOther()
  t.match((await restarted.request('GET', '/api/v1/settings')).body.settings, { queueProcessingEnabled: false, lastUpdated: String })
  t.strictSame(await Promise.all(waiting.map(async id => (await service.job(id)).status)), ['pending', 'pending', 'pending'],
    'neither the one that stood at the gate nor those behind it')
  t.equal(service.simulator.state().generations.length, 1)
  await restarted.request('PUT', '/api/v1/settings', { queueProcessingEnabled: true })
  for (const id of waiting) t.match(await service.until(id, 'completed', 'failed'), { status: 'completed' })
})

t.test('settings can be changed and reset; values of an earlier version stay until they are removed', async t => {
  const { redis, keys } = service.services
  await redis.hset(keys.key('runtime-settings', 'own'), 'theme', JSON.stringify({ dark: true }))
  t.match((await request('PUT', '/api/v1/settings', { retention_days: 7 })).body.settings,
    { retention_days: 7, theme: { dark: true } })
  const here = (await request('GET', '/api/v1/settings')).body.in_force as Array<{ name: string }>
  t.match(here.find(({ name }) => name === 'RETENTION_DAYS'), { value: 7, source: 'here' })
  t.match((await request('PUT', '/api/v1/settings', { retention_days: null })).body.settings,
    { retention_days: 90, theme: { dark: true } })
  const wrong: Array<[body: unknown, field: string]> = [
    [{ retention_days: -1 }, 'retention_days'], [{ retention_jobs: 'many' }, 'retention_jobs'],
    [{ queueProcessingEnabled: 'perhaps' }, 'queueProcessingEnabled'], [{ PORT: 80 }, 'PORT'],
    [{ theme: { dark: false } }, 'theme'], [{ retention_dyas: 3 }, 'retention_dyas']
  ]
  for (const [body, field] of wrong) {
    t.match(await request('PUT', '/api/v1/settings', body), { status: 400, body: { success: false, details: { field } } }, field)
  }
  t.match((await request('PUT', '/api/v1/settings', { retention_dyas: 3 })).body,
    { message: /did you mean retention_days\?/, details: { nearest: ['retention_days'] } })
  const { theme: _theme, ...read } = (await request('GET', '/api/v1/settings')).body.settings as JsonBody
  t.match(await request('PUT', '/api/v1/settings', read), { status: 200 }, 'what was read can be sent back')
  t.match(await request('PUT', '/api/v1/settings/queue-processing', {}), { status: 400, body: { success: false } })
  t.match(await request('DELETE', '/api/v1/settings/kept/theme'), { status: 200 })
  t.notHas((await request('GET', '/api/v1/settings')).body.settings, { theme: Object })
  t.match(await request('DELETE', '/api/v1/settings/kept/theme'), { status: 404, body: { error: 'setting_not_found' } })
})

t.test('a count of the due jobs comes before their deletion, which includes all their files', async t => {
  await request('PUT', '/api/v1/settings', { retention_days: 0 })
  const image = (await sharp({ create: { width: 64, height: 64, channels: 3, background: '#123456' } }).png().toBuffer()).toString('base64')
  const old = await service.submit({ ...quick, init_images: [image] })
  const done = await service.until(old, 'completed')
  const images = done.images.map(({ filename }) => filename)
  const inputs = join(service.dataDirectory, 'media', 'inputs')
  const files = async (folder: string) => (await readdir(folder, { recursive: true })).filter(name => /\w\.\w+$/.test(name))
  const brought = await files(inputs)
  t.equal(brought.length, 1)
  // A new upload stays, because another job can be about to use it.
  const before = new Date(Date.now() - 60_000)
  for (const name of brought) await utimes(join(inputs, name), before, before)
  const longAgo = Date.now() - 10 * 86_400_000
  await service.services.redis.hset(service.services.keys.key('job', old), 'ended', longAgo, 'created', longAgo)

  t.match((await request('GET', '/api/v1/settings/retention')).body, { due: { jobs: 0, oldest: null } })
  t.match((await request('POST', '/api/v1/settings/retention/purge')).body, { removed: { jobs: 0 }, message: 'Nothing was due.' })
  t.match((await request('GET', '/api/v1/settings/retention?days=9')).body,
    { days: 9, due: { jobs: 1, images: 1, bytes: Number, oldest: new Date(longAgo).toISOString() } })
  await request('PUT', '/api/v1/settings', { retention_days: 9 })
  t.match(await request('POST', '/api/v1/settings/retention/purge', { expected: 0 }),
    { status: 409, body: { error: 'more_than_expected', details: { expected: 0, count: 1 } } })
  t.match(await request('POST', '/api/v1/settings/retention/purge', { days: 30 }), { status: 400, body: { details: { field: 'days' } } })
  const created = new Date(longAgo).toISOString()
  t.match((await request('POST', '/api/v1/settings/retention/purge', { expected: 0, created_before: created })).body, { removed: { jobs: 0 } })
  const asOf = (await request('GET', '/api/v1/settings/retention')).body.as_of
  t.match((await request('POST', '/api/v1/settings/retention/purge', { expected: 1, created_before: asOf })).body,
    { removed: { jobs: 1, images: 1 }, more: false })
  t.equal((await request('GET', `/api/v2/jobs/${old}`)).status, 404)
  for (const name of images) t.equal((await request('GET', `/outputs/${name}`)).status, 404)
  t.strictSame(await files(inputs), [])
  t.match((await request('GET', '/api/v1/settings/retention')).body, { due: { jobs: 0 }, last: { jobs: 1, at: String } })

  const all = (await request('GET', '/api/v2/jobs')).body
  const newest = (all.jobs as JobBody[])[0]?.id
  await request('PUT', '/api/v1/settings', { retention_days: 0, retention_jobs: 1 })
  t.match((await request('GET', '/api/v1/settings/retention')).body, { due: { jobs: Number(all.total) - 1 } })
  await request('POST', '/api/v1/settings/retention/purge')
  t.strictSame(((await request('GET', '/api/v2/jobs')).body.jobs as JobBody[]).map(({ id }) => id), [newest])
})
