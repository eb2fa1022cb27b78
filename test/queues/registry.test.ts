import { readdir, readFile } from 'node:fs/promises'
import t from 'tap'
import { allQueues } from '../../queues/registry.ts'
import { runDoctor } from '../../src/main/doctor.ts'
import { startService } from '../helper.ts'
import { inRepository } from '../root.ts'

const service = await startService(t, { settings: { FLORENCE_URL: 'http://127.0.0.1:9' } })
const queues = allQueues(service.services)
const names = queues.map(({ name }) => name)

/** BullMQ writes one such key for each queue that was ever opened. */
async function openedQueues (): Promise<string[]> {
  const { redis, keys } = service.services
  const found = await redis.keys(`${keys.bullPrefix}:*:meta`)
  return found.map(key => key.slice(keys.bullPrefix.length + 1, -':meta'.length))
}

/** The doctor's report. */
async function report (): Promise<string> {
  let text = ''
  const { config, redisUrl } = service.services
  await runDoctor({ ...config, REDIS_URL: redisUrl }, {
    servers: [], queues, probeServer: async () => '', print (printed) { text = printed }
  }, 'text')
  return text
}

t.test('each file of queues/ that opens a queue is registered', async t => {
  const registry = await readFile(inRepository('queues', 'registry.ts'), 'utf8')
  let opening = 0
  for (const file of await readdir(inRepository('queues'))) {
    if (!file.endsWith('.ts')) continue
    if (!/\bnew Queue\b/.test(await readFile(inRepository('queues', file), 'utf8'))) continue
    opening++
    t.ok(registry.includes(`'./${file}'`), file)
  }
  t.ok(opening >= 5, 'the files are read')
})

t.test('every queue that a process opens is registered', async t => {
  t.same((await openedQueues()).toSorted(), queues.map(({ queue }) => queue.name).toSorted())
  t.same(names, ['Waiting', 'Main', 'Webhooks', 'Downloads', 'Maintenance', 'Florence'])
})

t.test('metrics, dashboard and doctor show every registered queue', async t => {
  const { body: { text } } = await service.request('GET', '/metrics')
  const { body: { queues: shown } } = await service.request('GET', '/dashboard/api/queues')
  const findings = await report()
  const displayed = (shown as Array<{ displayName: string }>).map(({ displayName }) => displayName)
  for (const name of names) {
    t.match(String(text), `stablequeue_queue_entries{queue="${name}",`, name)
    t.ok(displayed.includes(name), name)
    t.match(findings, new RegExp(`fine +queues: .*\\b${name} \\d`), name)
  }
})

t.test('the doctor names a paused queue', async t => {
  const downloads = queues.find(({ name }) => name === 'Downloads')?.queue
  await downloads?.pause()
  t.teardown(async () => { await downloads?.resume() })
  t.match(await report(), /warning +queues: Downloads is paused/)
})
