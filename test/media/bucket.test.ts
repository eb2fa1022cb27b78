import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import { parseSettings } from '../../src/config/parse.ts'
import { openBucket } from '../../src/media/bucket.ts'
import { createBucketCheck, requireFitBucket } from '../../src/media/bucket-check.ts'
import { createBucketFiles } from '../../src/media/bucket-files.ts'
import { BucketError } from '../../src/media/storage-fault.ts'
import { createMediaStore } from '../../src/media/store.ts'
import { runDoctor } from '../../src/main/doctor.ts'
import { quick, silentLogger, startService } from '../helper.ts'
import { type Freeze, startS3Server } from './s3-server.ts'

const red = await sharp({ create: { width: 32, height: 16, channels: 3, background: 'red' } }).png().toBuffer()
const sha256 = createHash('sha256').update(red).digest('hex')
const jobId = '1f0c2a9e-4b77-4d0e-9a53-2f5d1d3c7a10'
const timestamp = Date.UTC(2026, 10, 21, 9, 30)
const outputs = 'some/prefix/outputs/'

const openedWith = (settings: Readonly<Record<string, string>>) => openBucket(parseSettings({ S3_TIMEOUT_SECONDS: '2', ...settings }))

async function startStore (t: Test) {
  const s3 = await startS3Server(t)
  const bucket = openedWith(s3.settings)
  t.teardown(bucket.close)
  const directory = t.testdir({})
  const store = await createMediaStore({
    directory,
    filesIn: async (folder, name) => await createBucketFiles({ bucket, folder, start: name === 'inputs' ? 'media/inputs/' : `${name}/`, redirect: false })
  })
  async function storeOutput (bytes = red): Promise<string> {
    const sink = await store.createOutputSink(jobId, 0, timestamp)
    await sink.write(bytes)
    await sink.end()
    return (await sink.finished).name
  }
  return { s3, bucket, directory, store, storeOutput }
}

t.test('a store in a bucket', async t => {
  const { s3, bucket, directory, store, storeOutput } = await startStore(t)

  await t.test('stores an output under its public name, and leaves nothing on this machine', async t => {
    const name = await storeOutput()
    t.equal(name, '1f0c2a9e_2026-11-21T09-30-00-000Z_0.png')
    t.match(s3.objects.get(outputs + name), { headers: { 'content-type': 'image/png', 'x-amz-meta-sha256': sha256 } })
    const open = await store.openOutput(name)
    t.match(open, { mime: 'image/png', bytes: red.length })
    t.ok((await buffer(await open.stream())).equals(red))
    t.ok((await buffer(await open.stream({ start: 4, end: 9 }))).equals(red.subarray(4, 10)))
    t.same(await readdir(join(directory, 'outputs', '.drafts')), [])
    t.same(await readdir(join(directory, 'outputs')), ['.drafts'])
  })

  await t.test('gives each output a name of its own, also if the answer to a request is lost', async t => {
    t.equal(await storeOutput(), '1f0c2a9e_2026-11-21T09-30-00-001Z_0.png')
    let isFirst = true
    s3.fail({
      // The third name is free, and the bucket stores the image without an answer.
      when: (method, key) => isFirst && method === 'PUT' && key.includes('00-002Z') && !(isFirst = false),
      answer: 'lost'
    })
    const before = s3.objects.size
    t.equal(await storeOutput(), '1f0c2a9e_2026-11-21T09-30-00-002Z_0.png')
    s3.mend()
    t.equal(s3.objects.size, before + 1)
  })

  await t.test('works where no condition is known', async t => {
    s3.fail({ when: method => method === 'PUT', answer: [501, 'NotImplemented'] })
    const failed = storeOutput()
    t.teardown(s3.mend)
    await t.rejects(failed, { code: 'storage_full' })
    s3.mend()
    t.equal(await storeOutput(), '1f0c2a9e_2026-11-21T09-30-00-003Z_0.png', 'it asks before it writes')
  })

  await t.test('keeps equal inputs once, and one that is stored again is as new', async t => {
    const reference = await store.putInput(red, 'png')
    const key = `some/prefix/media/inputs/${sha256.slice(0, 2)}/${sha256}.png`
    const stored = s3.objects.get(key)
    t.ok(stored?.bytes.equals(red))
    if (stored !== undefined) s3.objects.set(key, { ...stored, modifiedAt: Date.now() - 3_600_000 })
    const listed = []
    for await (const found of store.listInputs(Date.now() - 60_000)) listed.push(found)
    t.same(listed, [reference])
    const sent = s3.requests.length
    t.same(await store.putInput(red, 'png'), reference)
    t.ok((s3.objects.get(key)?.modifiedAt ?? 0) > Date.now() - 5000)
    t.same(s3.requests.slice(sent), [`HEAD ${key}`, `PUT ${key}`])
    await store.removeInputs([reference], Date.now() - 60_000)
    t.ok((await store.readInput(reference)).equals(red))
    await store.removeInputs([reference])
    await store.removeInputs([reference])
    await t.rejects(store.readInput(reference), { code: 'image_not_found' })
  })

  await t.test('lists page after page, and removes an output with its thumbnail', async t => {
    const listed = []
    for await (const name of store.listOutputs(Infinity)) listed.push(name)
    t.equal(listed.length, 4)
    for (const name of listed) {
      t.equal((await store.openThumbnail(name)).mime, 'image/webp')
      await store.removeOutput(name)
    }
    t.same([...s3.objects.keys()], [])
  })

  await t.test('answers with an error in bounded time while the bucket is away, and keeps the bytes of an image', async t => {
    const name = await storeOutput()
    const full = { code: 'storage_full', status: 503 }
    for (const [answer, errno] of [
      ['silence', 'ETIMEDOUT'], ['close', /^(?:UND_ERR_SOCKET|ECONNRESET|ETIMEDOUT)$/], [[503, 'SlowDown'], 'SlowDown'], [[403, 'AccessDenied'], 'AccessDenied']
    ] as const) {
      s3.fail({ answer })
      const sink = await store.createOutputSink(jobId, 0, timestamp)
      await sink.write(red)
      await sink.end()
      await Promise.all([
        t.rejects(store.openOutput(name), { ...full, details: { reason: errno } }, String(errno)),
        t.rejects(store.readInput({ $media: `${sha256}.png` }), full, String(errno)),
        t.rejects(sink.finished, full, String(errno))
      ])
      t.ok((await sink.rescue())?.equals(red), String(errno))
      s3.mend()
    }
    t.ok((await buffer(await (await store.openOutput(name)).stream())).equals(red))
  })

  await t.test('is checked by a request now and then, and after a failure by a whole trial', async t => {
    const check = createBucketCheck(bucket)
    t.equal(await check(false), null)
    const sent = s3.requests.length
    t.equal(await check(false), null)
    t.equal(s3.requests.length, sent, 'the first trial is still good')
    s3.fail({ when: method => method === 'PUT', answer: [403, 'AccessDenied'] })
    t.match(await check(true), { errno: 'AccessDenied' })
    t.match(await check(false), { errno: 'AccessDenied' })
    s3.mend()
    t.equal(await check(false), null)
    t.same([...s3.objects.keys()].filter(key => key.includes('.check')), [])
  })
})

const freezes: readonly Freeze[] = [
  'within the upload', 'within the headers', 'before the content', 'within the content', 'trickle'
]

t.test('no request waits for ever for a bucket that freezes', async t => {
  const s3 = await startS3Server(t)
  const bucket = openedWith({ ...s3.settings, S3_TIMEOUT_SECONDS: '0.5' })
  t.teardown(bucket.close)
  const path = join(t.testdir({ file: Buffer.alloc(200_000, 'x') }), 'file')
  const file = { path, size: 200_000, sha256: createHash('sha256').update(Buffer.alloc(200_000, 'x')).digest('hex') }
  await bucket.put('there', red, 'image/png', 'any')
  const works: Readonly<Record<string, () => Promise<unknown>>> = {
    put: async () => await bucket.put('small', red, 'image/png', 'new'),
    'put of a file': async () => await bucket.put('file', file, 'image/png', 'any'),
    facts: async () => await bucket.facts('there'),
    read: async () => await bucket.readAll('there'),
    list: async () => await bucket.list('')[Symbol.asyncIterator]().next(),
    renew: async () => await bucket.renew('there', { mime: 'image/png', sha256 }),
    remove: async () => { await bucket.remove('there') },
    'trial of all': async () => await createBucketCheck(bucket)(true)
  }
  /** Headers are the whole answer to these. */
  const early = new Set(['put', 'put of a file', 'facts'])
  for (const answer of ['silence', ...freezes] as const) {
    await t.test(answer, async t => {
      s3.fail({ answer })
      t.teardown(s3.mend)
      const outcomes = await Promise.all(Object.entries(works).map(async ([name, work]) =>
        [name, await work().then(() => 'done', error => error instanceof BucketError ? error.fault.errno : String(error))] as const))
      const isLate = answer !== 'silence' && answer.includes('the content')
      for (const [name, outcome] of outcomes) {
        t.match(outcome, isLate && early.has(name) ? /done/ : /ETIMEDOUT|done/, name)
      }
      t.equal(Object.fromEntries(outcomes).read, 'ETIMEDOUT')
    })
  }
  t.ok((await bucket.readAll('there'))?.equals(red), 'it works as before when the bucket is back')
})

t.test('clients that read slowly keep nobody else from the bucket', async t => {
  const s3 = await startS3Server(t)
  const bucket = openedWith({ ...s3.settings, S3_TIMEOUT_SECONDS: '10' })
  t.teardown(bucket.close)
  await bucket.put('large', Buffer.alloc(400_000), 'image/png', 'any')
  const reading = await Promise.all(Array.from({ length: 80 }, async () => await bucket.read('large')))
  t.equal(await bucket.put('new', red, 'image/png', 'new'), true)
  for (const stream of reading) stream?.destroy()
})

t.test('a start refuses a bucket that waiting cannot mend, and names the setting', async t => {
  const s3 = await startS3Server(t)
  const start = async (settings: Readonly<Record<string, string>>) => {
    const bucket = openedWith({ ...s3.settings, ...settings })
    await requireFitBucket(bucket, silentLogger).finally(bucket.close)
  }
  await start({})
  await t.rejects(start({ MEDIA_URL: 's3://other/x' }), /MEDIA_URL is s3:\/\/other\/x\/ at http.*NoSuchBucket.*correct MEDIA_URL/)
  await t.rejects(start({ S3_SECRET_ACCESS_KEY: 'wrong' }), /SignatureDoesNotMatch.*Correct S3_SECRET_ACCESS_KEY/)
  await t.rejects(start({ S3_ACCESS_KEY_ID: 'wrong' }), /InvalidAccessKeyId.*Correct S3_ACCESS_KEY_ID/)
  await t.rejects(start({ S3_REGION: 'us-east-9' }), /Correct S3_REGION/)
  s3.fail({ when: method => method === 'DELETE', answer: [403, 'AccessDenied'] })
  await t.rejects(start({}), /no object can be deleted: .*s3:DeleteObject/)
  s3.fail({ answer: [503, 'SlowDown'] })
  await t.resolves(start({}))
})

t.test('the doctor tries the bucket', async t => {
  const s3 = await startS3Server(t)
  async function examine (): Promise<string> {
    let report = ''
    const config = parseSettings({ ...s3.settings, DATA_DIR: t.testdir({}), REDIS_SERVER: process.execPath })
    await runDoctor(config, { servers: [], probeServer: async () => '', print: text => { report = text } }, 'text')
    return report
  }
  t.match(await examine(), /fine +bucket: objects of s3:\/\/bucket\/some\/prefix\/ at .* can be written, read, listed and deleted/)
  s3.fail({ when: method => method === 'PUT', answer: [403, 'AccessDenied'] })
  t.match(await examine(), /problem +bucket: .*no object can be written: .*\n +Give it the rights .*s3:PutObject/)
})

t.test('a service with a bucket', async t => {
  const s3 = await startS3Server(t)
  const settings = { ...s3.settings, S3_TIMEOUT_SECONDS: '2', STORAGE_CHECK_SECONDS: '0.02', MEDIA_REDIRECT: 'true', JOB_ATTEMPTS: '1' }
  const service = await startService(t, { settings })
  const scripted = { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors' }

  await t.test('redirects clients to the image, and streams it where a redirect does not work', async t => {
    const [image] = (await service.until(await service.submit({ ...quick, init_images: [red.toString('base64')] }), 'completed')).images
    const path = `/outputs/${image?.filename}`
    const redirect = await fetch(service.url + path, { redirect: 'manual' })
    t.equal(redirect.status, 307)
    const followed = await fetch(String(redirect.headers.get('location')))
    t.match(Object.fromEntries(followed.headers), {
      'content-type': 'image/png', 'content-disposition': `inline; filename="${image?.filename}"`
    })
    const bytes = Buffer.from(await followed.arrayBuffer())
    const whole = await fetch(service.url + path, { headers: scripted, redirect: 'manual' })
    t.equal(whole.status, 200)
    t.ok(Buffer.from(await whole.arrayBuffer()).equals(bytes))
    const part = await fetch(service.url + path, { headers: { ...scripted, range: 'bytes=2-5' } })
    t.equal(part.status, 206)
    t.ok(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(2, 6)))
    const same = await fetch(service.url + path, { headers: { 'if-none-match': String(whole.headers.get('etag')) } })
    t.equal(same.status, 304)
    t.equal((await fetch(`${service.url}/outputs/thumbs/${image?.filename}`)).headers.get('content-type'), 'image/webp')
    t.equal((await fetch(service.url + path.replace('_0.', '_7.'), { redirect: 'manual' })).status, 404)
    t.match((await fetch(`${service.url}/`)).headers.get('content-security-policy'), new RegExp(`img-src 'self' ${s3.settings.S3_ENDPOINT}`))
  })

  await t.test('pauses while the bucket is down, loses nothing and charges no attempt', async t => {
    const slow = { ...quick, steps: 40 }
    service.simulator.reset()
    for (const answer of ['close', [503, 'SlowDown']] as const) {
      const ids = [await service.submit(slow), await service.submit(quick)]
      await service.until(ids[0] ?? '', 'processing')
      s3.fail({ answer })
      let ready = await service.request('GET', '/ready')
      while (ready.status !== 503) {
        await sleep(20)
        ready = await service.request('GET', '/ready')
      }
      t.match(JSON.stringify(ready.body), /Files cannot be kept: the bucket/)
      t.match(await service.request('POST', '/api/v2/generate', { target_server_alias: 'Main', generation_params: quick }), {
        status: 503, body: { error: 'storage_full' }
      })
      s3.mend()
      for (const id of ids) t.match(await service.until(id, 'completed', 'failed'), { status: 'completed', attempts: [] })
    }
    t.equal(service.simulator.state().generations.length, 4, 'each was generated once')
  })

  await t.test('a zip breaks off if the bucket fails meanwhile, and the service goes on', async t => {
    const [image] = (await service.until(await service.submit(quick), 'completed')).images
    const order = await service.request('POST', '/api/v1/gallery/zips', { filenames: [image?.filename] })
    s3.fail({ when: method => method === 'GET', answer: [403, 'AccessDenied'] })
    await t.rejects(fetch(`${service.url}${order.body.url}`).then(async answer => await answer.arrayBuffer()))
    t.match(await service.request('GET', `/outputs/${image?.filename}`, undefined, scripted), { status: 503, body: { error: 'storage_full' } })
    s3.mend()
    t.equal((await fetch(`${service.url}${order.body.url}`)).status, 200)
  })

  await t.test('deletes a job while the bucket is down, and the sweep removes its files', async t => {
    const id = await service.submit(quick)
    const [image] = (await service.until(id, 'completed')).images
    s3.fail({ answer: [503, 'SlowDown'] })
    t.equal((await service.request('DELETE', `/api/v2/jobs/${id}`)).status, 200)
    s3.mend()
    t.ok(s3.objects.has(`some/prefix/outputs/${image?.filename}`))
  })
})
