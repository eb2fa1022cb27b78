// A process of its own: it starts and kills many others.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer as createHttpServer, request as sendOn } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import { parseSettings } from '../../src/config/parse.ts'
import { openBucket } from '../../src/media/bucket.ts'
import { tryBucket } from '../../src/media/bucket-check.ts'
import { type ApiProcess, type ServiceProcess, startFleet } from '../faults/processes.ts'
import { quick } from '../helper.ts'
import { freePort } from '../support/free-port.ts'
import { listen } from '../webhooks/receiver.ts'
import { tool } from './tool.ts'

const { path: python, skip } = tool('moto')
const bucketName = 'pictures'
const image = (await sharp({ create: { width: 64, height: 64, channels: 3, background: 'grey' } }).png().toBuffer()).toString('base64')

/** Moto's S3 with an empty bucket; its memory ends with its process, so it pauses by a signal. */
async function startMoto (t: Test) {
  const port = await freePort()
  const child = spawn(python, ['-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' })
  t.teardown(async () => {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  const endpoint = `http://127.0.0.1:${port}`
  while (!await fetch(endpoint).then(() => true, () => false)) await sleep(100)
  await fetch(`${endpoint}/${bucketName}`, { method: 'PUT' })
  return {
    settings: {
      MEDIA_URL: `s3://${bucketName}/sq`, S3_ENDPOINT: endpoint, S3_ACCESS_KEY_ID: 'key', S3_SECRET_ACCESS_KEY: 'secret'
    },
    signal: (signal: NodeJS.Signals) => { child.kill(signal) }
  }
}

/** Passes requests on to the bucket. `onStored` is called when it has answered an upload, before the sender knows. */
async function startRelay (t: Test, target: string) {
  const relay = { endpoint: '', onStored: (_path: string): void => {} }
  const server = createHttpServer((request, response) => {
    const { method = '', url: path = '', headers } = request
    const onward = sendOn(target + path, { method, headers }, answer => {
      if (method === 'PUT' && answer.statusCode === 200) relay.onStored(path)
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    onward.on('error', () => { response.destroy() })
    response.on('close', () => { onward.destroy() })
    request.pipe(onward)
  })
  relay.endpoint = `http://127.0.0.1:${await listen(t, server)}`
  return relay
}

t.test('the bucket of another program takes all requests', { skip }, async t => {
  const moto = await startMoto(t)
  const bucket = openBucket(parseSettings(moto.settings))
  t.teardown(bucket.close)
  t.equal(await tryBucket(bucket), null)
  const bytes = Buffer.from('0123456789')
  t.equal(await bucket.put('a/b c+ü.png', bytes, 'image/png', 'new'), true)
  t.equal(await bucket.put('a/b c+ü.png', bytes, 'image/png', 'new'), false)
  const facts = await bucket.facts('a/b c+ü.png')
  t.match(facts, { bytes: 10, mime: 'image/png', sha256: /^[0-9a-f]{64}$/ })
  const part = await bucket.read('a/b c+ü.png', { start: 2, end: 4 }, facts?.tag)
  t.equal((await part?.toArray())?.join(''), '234')
  t.equal(await bucket.renew('a/b c+ü.png', { mime: 'image/png', sha256: facts?.sha256 ?? null }), true)
  const linked = await fetch(bucket.link('a/b c+ü.png', { mime: 'image/webp', disposition: 'inline; filename="x"' }).url)
  t.match([linked.status, linked.headers.get('content-type'), await linked.text()], [200, 'image/webp', '0123456789'])
  const listed = []
  for await (const { key } of bucket.list('a/')) listed.push(key)
  t.same(listed, ['a/b c+ü.png'])
  await bucket.remove('a/b c+ü.png')
  t.equal(await bucket.facts('a/b c+ü.png'), null)
})

t.test('two API processes and two workers with folders of their own share one bucket', { skip }, async t => {
  const moto = await startMoto(t)
  const bucket = openBucket(parseSettings(moto.settings))
  t.teardown(bucket.close)
  const relay = await startRelay(t, moto.settings.S3_ENDPOINT)
  const fleet = await startFleet(t, { stepMilliseconds: 5 })
  const jobs = Number(process.env.STABLEQUEUE_TEST_S3_JOBS ?? 24)
  // Once: each further call would remove the folders of the processes that run.
  const folder = t.testdir({})
  let folders = 0
  const settings = () => ({
    ...moto.settings,
    S3_ENDPOINT: relay.endpoint,
    DATA_DIR: join(folder, String(folders++)),
    MASTER_KEY: 'ab'.repeat(32),
    S3_TIMEOUT_SECONDS: '3',
    STORAGE_CHECK_SECONDS: '0.1',
    JOB_ATTEMPTS: '10',
    QUEUE_LIMIT_PER_KEY: '10000'
  })
  const homes = Array.from({ length: 4 }, settings)
  const apis: ApiProcess[] = await Promise.all(homes.slice(0, 2).map(async home => await fleet.api(home)))
  const workers: ServiceProcess[] = await Promise.all(homes.slice(2).map(async home => await fleet.worker(home)))
  const ids: string[] = []
  const begin = async (count: number) => {
    for (let index = 0; index < count; index++) {
      const api = apis[index % 2] as ApiProcess
      const parameters = index % 3 === 0 ? { ...quick, init_images: [image] } : quick
      ids.push(await accepted(api, parameters))
    }
  }
  /** As a client does that is asked to try again later: on a busy machine the bucket can be late at any time. */
  async function accepted (api: ApiProcess, parameters: Readonly<Record<string, unknown>>): Promise<string> {
    for (;;) {
      const { status, body } = await api.request('POST', '/api/v2/generate', { target_server_alias: 'default', generation_params: parameters })
      if (status === 202) return String(body.job_id)
      if (status !== 503) throw new Error(`not accepted: ${status} ${JSON.stringify(body)}`)
      await sleep(100)
    }
  }

  await t.test('each of them is killed in turn under load', async () => {
    for (let round = 0; round < 2; round++) {
      await begin(jobs / 6)
      await workers[round]?.kill()
      workers[round] = await fleet.worker(homes[2 + round])
      await begin(jobs / 6)
      await apis[round]?.kill()
      apis[round] = await fleet.api(homes[round])
    }
  })

  await t.test('workers are killed when the bucket has stored an image, before the record names it', async t => {
    const [api] = apis as [ApiProcess]
    for (const id of ids) await api.until(id, 'completed', 'failed')
    const stored = new Promise<string>(resolve => {
      relay.onStored = path => {
        if (!path.includes('/outputs/')) return
        relay.onStored = () => {}
        for (const worker of workers) worker.signal('SIGSTOP')
        resolve(path)
      }
    })
    const id = await accepted(api, quick)
    const path = await stored
    // On a busy machine the one that stores it can have lost the lease to the other.
    await Promise.all(workers.map(async worker => await worker.kill()))
    for (const [index] of workers.entries()) workers[index] = await fleet.worker(homes[2 + index])
    const { status, images } = await api.until(id, 'completed', 'failed')
    t.equal(status, 'completed')
    const [, first = ''] = path.split('/outputs/')
    t.not(first, images[0]?.filename, 'the record names the image of the second generation')
    t.ok(await bucket.facts(`outputs/${first}`), 'the first waits for the sweep')
    t.equal((await fetch(`${api.url}/outputs/${images[0]?.filename}`)).status, 200)
  })

  await t.test('the bucket is away for a while under load', async t => {
    await begin(jobs / 6)
    moto.signal('SIGSTOP')
    const api = apis[0] as ApiProcess
    let ready = await api.request('GET', '/ready')
    while (ready.status !== 503) ready = await api.request('GET', '/ready')
    t.match(JSON.stringify(ready.body), /the bucket does not answer in time/)
    t.match(await api.request('POST', '/api/v2/generate', { target_server_alias: 'Main', generation_params: quick }), { status: 503 })
    moto.signal('SIGCONT')
    await begin(jobs / 6)
  })

  await t.test('no job is lost, and processes that never saw an image serve it', async t => {
    const fresh = await fleet.api(settings())
    const lost: string[] = []
    for (const id of ids) {
      const { status, images } = await fresh.until(id, 'completed', 'failed', 'cancelled')
      const answer = await fetch(`${fresh.url}/outputs/${images[0]?.filename}`)
      const bytes = Buffer.from(await answer.arrayBuffer())
      if (status !== 'completed' || answer.status !== 200 || bytes.length === 0) lost.push(`${id} ${status} ${answer.status}`)
    }
    t.same(lost, [])
    t.equal(ids.length, Math.floor(jobs / 6) * 6)
  })

  await t.test('a process without the bucket does not start', async t => {
    const { MEDIA_URL: _, S3_ENDPOINT: _e, S3_ACCESS_KEY_ID: _k, S3_SECRET_ACCESS_KEY: _s, ...without } = settings()
    await t.rejects(fleet.worker(without), /DATA_DIR is .* which is not the folder .* set MEDIA_URL/)
  })
})
