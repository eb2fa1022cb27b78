import { readdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { QueueEvents } from 'bullmq'
import { Redis } from 'ioredis'
import sharp from 'sharp'
import t from 'tap'
import { sweepMedia } from '../../src/jobs/media-sweep.ts'
import { createMediaStore } from '../../src/media/store.ts'
import { storedTexts } from '../../src/main/worker.ts'
import type { StoredImage } from '../../src/lib/media-types.ts'
import { quick, startService } from '../helper.ts'

const service = await startService(t)
const { services, dataDirectory } = service
const otherTexts = () => storedTexts(services.redis, services.keys)
const sweep = async (before: number) => await sweepMedia({ ...services, otherTexts }, before)
const outputs = join(dataDirectory, 'outputs')
const inputs = join(dataDirectory, 'media', 'inputs')
const picture = async (background: string) =>
  await sharp({ create: { width: 16, height: 16, channels: 3, background } }).png().toBuffer()
const twoDaysAgo = new Date(Date.now() - 2 * 86_400_000)
const anHourAgo = Date.now() - 3_600_000

async function inputNames (): Promise<string[]> {
  const names = await readdir(inputs, { recursive: true })
  return names.filter(name => name.endsWith('.png')).map(name => name.slice(3))
}

const outputNames = async () => (await readdir(outputs)).filter(name => !name.startsWith('.')).sort()

/** Makes all existing files look old. */
async function age (): Promise<void> {
  for (const folder of [outputs, inputs]) {
    for (const name of await readdir(folder, { recursive: true })) {
      // The check of the storage writes a file there and removes it.
      await utimes(join(folder, name), twoDaysAgo, twoDaysAgo).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error
      })
    }
  }
}

/** An image as left by a worker that was killed before its job's end. */
async function leaveOutput (jobId: string): Promise<Omit<StoredImage, 'role'>> {
  const sink = await services.media.createOutputSink(jobId, 3, Date.now())
  await sink.write(await picture('red'))
  await sink.end()
  return await sink.finished
}

const init = { init_images: [(await picture('blue')).toString('base64')], denoising_strength: 0.5 }
const kept = await service.submit({ ...quick, ...init })
const job = await service.until(kept, 'completed', 'failed')
const named = job.images.map(({ filename }) => filename)
const [held = ''] = await inputNames()

t.test('old files that no job names are deleted; those of jobs stay, however old', async t => {
  await leaveOutput(kept)
  await writeFile(join(outputs, '12345678_2026-01-01T00-00-00-000Z_0.png'), '')
  for (const folder of [outputs, inputs]) await writeFile(join(folder, '.drafts', 'half'), 'half a picture')
  await services.media.putInput(await picture('green'), 'png')
  await age()
  const young = await leaveOutput(kept)
  const { $media: brought } = await services.media.putInput(await picture('yellow'), 'png')
  t.same(await sweep(anHourAgo), { outputs: 2, inputs: 1 })
  t.same(await outputNames(), [...named, young.name].sort())
  t.same((await inputNames()).sort(), [held, brought].sort())
  for (const folder of [outputs, inputs]) {
    const drafts = await readdir(join(folder, '.drafts'))
    t.same(drafts.filter(name => !name.startsWith('check-')), [], 'besides the file of a storage check under way')
  }
  t.same(await sweep(Date.now() + 1000), { outputs: 1, inputs: 1 }, 'the rest when it is old')
  t.same([await outputNames(), await inputNames()], [named, [held]])
})

t.test('images of attempts before the last one are deleted too', async t => {
  service.simulator.setFaults([{ kind: 'wrong-seed' }])
  const id = await service.submit(quick, { on_difference: 'fail' })
  t.equal((await service.until(id, 'failed')).images.length, 1)
  t.equal((await service.request('POST', `/api/v2/jobs/${id}/retry`)).status, 200)
  t.equal((await service.until(id, 'completed', 'failed')).status, 'completed')
  await age()
  t.same(await sweep(anHourAgo), { outputs: 1, inputs: 0 })
  t.equal((await outputNames()).length, 2)
  t.equal((await service.request('DELETE', `/api/v2/jobs/${id}`)).status, 200)
})

t.test('a worker removes such files by itself every six hours', async t => {
  const { queue } = services.models.maintenance
  t.match(await queue.getJobScheduler('sweep-media'), { every: 6 * 3_600_000 })
  await leaveOutput(kept)
  await age()
  const connection = new Redis(services.redisUrl, { maxRetriesPerRequest: null })
  const events = new QueueEvents(queue.name, { connection, prefix: services.keys.bullPrefix })
  t.teardown(async () => {
    await events.close()
    connection.disconnect()
  })
  const entry = await queue.add('sweep-media', {})
  await entry.waitUntilFinished(events)
  t.same(await outputNames(), named)
})

t.test('nothing is deleted while folder and Redis can belong to different installations', async t => {
  t.testdir({})
  const { redis, keys } = services
  await leaveOutput(kept)
  await age()
  const there = await outputNames()
  const refused = async (why: string) => {
    t.equal(await sweep(Date.now() + 1000), null, why)
    t.same(await outputNames(), there)
  }
  const arrival = await redis.get(keys.key('arrival')) ?? ''
  await redis.set(keys.key('arrival'), Number(arrival) - 1)
  await refused('Redis was put back to an older backup')
  await redis.set(keys.key('arrival'), arrival)
  const installation = await redis.getset(keys.key('installation'), 'another') ?? ''
  await refused('it is another Redis')
  await redis.set(keys.key('installation'), installation)

  const [empty, strange] = await Promise.all(['empty', 'strange'].map(async name =>
    await createMediaStore({ directory: join(t.testdirName, name) })))
  if (empty === undefined || strange === undefined) throw new Error('no stores')
  t.same(await sweepMedia({ ...services, otherTexts, media: empty }, Date.now()), { outputs: 0, inputs: 0 },
    'an empty folder belongs to the first that uses it')
  await writeFile(join(t.testdirName, 'strange', 'outputs', '12345678_2026-01-01T00-00-00-000Z_0.png'), 'of another service')
  t.equal(await sweepMedia({ ...services, otherTexts, media: strange }, Date.now() + 1000), null, 'nobody here knows any of these images')
  t.match(await sweep(Date.now() + 1000), { outputs: 1 })
})

t.test('images of sessions and presets stay, however old', async t => {
  const image = (await picture('purple')).toString('base64')
  const before = await inputNames()
  const preset = await service.request('POST', '/presets/somebody', { name: 'Kept', config: { init_images: [image] } })
  t.ok(preset.status < 300, JSON.stringify(preset.body))
  const [brought] = (await inputNames()).filter(name => !before.includes(name))
  t.ok(brought, 'the picture is a file')
  await age()
  await sweep(Date.now())
  t.ok((await inputNames()).includes(brought ?? ''))
})
