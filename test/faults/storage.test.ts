import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import { quick, startService, type Service } from '../helper.ts'
import { startWorker } from '../../src/main/worker.ts'
import { createFaultyDisk } from './full-disk.ts'
import { checkInvariants } from './invariants.ts'

const grey = await sharp({ create: { width: 64, height: 64, channels: 3, background: 'grey' } }).png().toBuffer()
const image = grey.toString('base64')
const slow = { ...quick, steps: 40 }

const submissions: ReadonlyArray<readonly [path: string, body: unknown]> = [
  ['/api/v1/generate', { target_server_alias: 'Main', generation_params: quick }],
  ['/api/v2/generate', { target_server_alias: 'Main', generation_params: { ...quick, init_images: [image] } }],
  ['/api/v2/generate/bulk', { target_server_alias: 'Main', generation_params: quick, bulk_quantity: 2 }],
  ['/sdapi/v1/txt2img', quick],
  ['/sdapi/v1/img2img?async=1', { ...quick, init_images: [image] }],
  ['/generate/txt2img', { prompt: 'a lighthouse', user_id: 'someone' }],
  ['/generate/batch', { user_id: 'someone', base_request: { prompt: 'a lighthouse' }, variations: [{ cfg_scale: 5 }] }]
]

/** Resolves when `/ready` answers like this; it checks the disk itself. */
async function untilReady (service: Service, status: number): Promise<string> {
  for (;;) {
    const answer = await service.request('GET', '/ready')
    if (answer.status === status) return JSON.stringify(answer.body)
    await sleep(20)
  }
}

async function upload (service: Service): Promise<Response> {
  const form = new FormData()
  form.set('target_server_alias', 'Main')
  form.set('generation_params', JSON.stringify(quick))
  form.set('init_images', new File([new Uint8Array(grey)], 'grey.png', { type: 'image/png' }))
  return await fetch(`${service.url}/api/v2/generate`, { method: 'POST', body: form })
}

/** Nothing is accepted, on any interface, and every answer says why and when to retry. */
async function checkRefusals (t: Test, service: Service, errno: string): Promise<void> {
  for (const [path, body] of submissions) {
    const answer = await service.request('POST', path, body)
    t.equal(answer.status, 503, `${path}: ${JSON.stringify(answer.body)}`)
    t.match(JSON.stringify(answer.body), errno, path)
    t.match(answer.headers.get('retry-after'), /^\d+$/, path)
    if (path.startsWith('/api/')) t.equal(answer.body.error, 'storage_full', path)
  }
  t.equal((await upload(service)).status, 503)
}

/**
 * A fault that begins while one job generates and another waits: it costs neither an attempt, nothing is sent
 * meanwhile, and afterwards each gets its images with one generation.
 */
async function checkFault (
  t: Test, service: Service, errno: string, begin: () => Promise<unknown> | void, end: () => Promise<unknown> | void
): Promise<void> {
  const { simulator } = service
  simulator.reset()
  const ids = [await service.submit({ ...slow, init_images: [image] }), await service.submit(quick)]
  await service.until(ids[0] ?? '', 'processing')
  await begin()
  t.match(await untilReady(service, 503), errno)
  const since = Date.now()
  await checkRefusals(t, service, errno)
  while (simulator.state().generations[0]?.finishedAt === null) await sleep(10)
  t.match((await service.request('GET', '/metrics')).body.text, /stablequeue_storage_ok 0/)
  t.same(simulator.state().generations.filter(({ startedAt }) => startedAt > since), [], 'nothing is sent meanwhile')
  await end()
  await untilReady(service, 200)
  for (const id of ids) {
    const job = await service.until(id, 'completed', 'failed')
    t.equal(job.status, 'completed')
    t.same(job.attempts, [], 'no attempt was used')
  }
  t.equal(simulator.state().generations.length, 2, 'each was generated once: what had arrived was kept')
  const { text } = (await service.request('GET', '/metrics')).body
  t.match(text, /stablequeue_storage_ok 1/)
  t.match(text, /stablequeue_storage_free_bytes\{folder="outputs"\} \d/)
  const { services: { redis: look, keys }, dataDirectory } = service
  await checkInvariants(t, ids, { look, keys, dataDirectory })
}

t.test('a full disk pauses every server, charges no job and keeps arriving images', async t => {
  const disk = createFaultyDisk(t)
  const lines: string[] = []
  const logger = pino({ level: 'error' }, { write (line: string) { lines.push(line) } })
  const service = await startService(t, { logger, simulator: { stepMilliseconds: 10 }, settings: { JOB_ATTEMPTS: '1', STORAGE_CHECK_SECONDS: '0.02' } })
  const outputs = join(service.dataDirectory, 'outputs')

  for (const [errno, calls] of [
    ['ENOSPC', ['write']], ['EDQUOT', ['write']], ['EIO', ['write']], ['EROFS', ['open']], ['EACCES', ['open']], ['EMFILE', ['open']]
  ] as const) {
    await t.test(errno, async t => {
      await checkFault(t, service, errno, () => { disk.fail(errno, calls, join(outputs, '.drafts')) }, disk.repair)
    })
  }
  await t.test('the folder is moved away', async t => {
    await checkFault(t, service, 'ENOENT', async () => { await rename(outputs, `${outputs}-away`) },
      async () => { await rename(`${outputs}-away`, outputs) })
  })
  await t.test('a file is in its place', async t => {
    const drafts = join(outputs, '.drafts')
    await checkFault(t, service, 'ENOTDIR', async () => {
      await rename(drafts, `${drafts}-away`)
      await writeFile(drafts, '')
    }, async () => {
      await rm(drafts)
      await rename(`${drafts}-away`, drafts)
    })
  })
  const logged = lines.map(line => JSON.parse(line) as Record<string, unknown>).filter(line => 'errno' in line)
  t.match(logged[0], { errno: 'ENOSPC', path: /\.drafts/, msg: /cannot be kept/ })
  t.notMatch(lines.join(''), /lighthouse/)
})

t.test('an image that is unreadable for the moment, and a quota that only an image exceeds', async t => {
  const disk = createFaultyDisk(t)
  const service = await startService(t, { simulator: { stepMilliseconds: 5 }, settings: { JOB_ATTEMPTS: '1', STORAGE_CHECK_SECONDS: '0.02' } })
  await t.test('a job whose input is unreadable waits', async t => {
    const other = await service.submit(slow)
    disk.fail('EMFILE', ['read'], join('media', 'inputs'))
    const id = await service.submit({ ...quick, init_images: [image] })
    await untilReady(service, 503)
    disk.repair()
    for (const one of [id, other]) t.match(await service.until(one, 'completed', 'failed'), { status: 'completed', attempts: [] })
    t.equal(service.simulator.state().generations.length, 2)
  })
  await t.test('inputs whose folder is gone are not lost', async t => {
    const inputs = join(service.dataDirectory, 'media', 'inputs')
    const first = await service.submit(slow)
    const id = await service.submit({ ...quick, init_images: [image] })
    await rename(inputs, `${inputs}-away`)
    await untilReady(service, 503)
    await rename(`${inputs}-away`, inputs)
    for (const one of [first, id]) t.match(await service.until(one, 'completed', 'failed'), { status: 'completed', attempts: [] })
  })
  await t.test('a job that waits for space can be cancelled', async t => {
    const id = await service.submit(slow)
    await service.until(id, 'processing')
    disk.fail('ENOSPC', ['write'], 'outputs')
    await untilReady(service, 503)
    t.equal((await service.request('POST', `/api/v2/jobs/${id}/cancel`)).status, 200)
    t.equal((await service.until(id, 'cancelled', 'completed', 'failed')).status, 'cancelled')
    disk.repair()
    await untilReady(service, 200)
  })
  await t.test('a worker that stops meanwhile returns its job, and another generates it', async t => {
    const id = await service.submit(slow)
    await service.until(id, 'processing')
    disk.fail('ENOSPC', ['write'], 'outputs')
    await untilReady(service, 503)
    await service.worker?.close()
    t.match(await service.job(id), { status: 'pending' })
    disk.repair()
    const next = await startWorker(service.services, { whileUp: 1000, whileDown: 50, inventory: 1000 })
    t.teardown(next.close)
    t.equal((await service.until(id, 'completed', 'failed')).status, 'completed')
  })
})
