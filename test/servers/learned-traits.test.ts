import { Redis } from 'ioredis'
import t from 'tap'
import { createKeys } from '../../src/lib/keys.ts'
import { createServerStateStore } from '../../src/servers/state-store.ts'
import { startTestRedis } from '../redis.ts'

const redisServer = await startTestRedis()
t.teardown(redisServer.stop)
const redis = new Redis(redisServer.url)
t.teardown(() => { redis.disconnect() })

/** Returns the store of a new process each time. */
const store = () => createServerStateStore(redis, createKeys('sq'))
const subject = { id: 'one', baseUrl: 'http://127.0.0.1:7860', kind: 'a1111' } as const

t.test('a new server has no learned traits', async t => {
  t.match(await store().learned.read(subject), { tasksKnown: null })
})

t.test('the traits that one process learned are known to the next, and later ones replace them', async t => {
  await store().learned.learn(subject, { tasksKnown: true })
  t.match(await store().learned.read(subject), { tasksKnown: true })
  await store().learned.learn(subject, { tasksKnown: false })
  t.match(await store().learned.read(subject), { tasksKnown: false })
  await store().learned.learn(subject, {})
  t.match(await store().learned.read(subject), { tasksKnown: false }, 'learning nothing changes nothing')
})

t.test('another address or another kind is another server', async t => {
  await store().learned.learn(subject, { tasksKnown: true })
  t.match(await store().learned.read({ ...subject, baseUrl: 'http://127.0.0.1:7861' }), { tasksKnown: null })
  t.match(await store().learned.read({ ...subject, kind: 'forge' }), { tasksKnown: null })
  t.match(await store().learned.read({ ...subject, id: 'other' }), { tasksKnown: null })
  await store().learned.learn({ ...subject, kind: 'forge' }, {})
  t.match(await store().learned.read(subject), { tasksKnown: true }, 'a look at another changes nothing')
  await store().learned.learn({ ...subject, kind: 'forge' }, { tasksKnown: false })
  t.match(await store().learned.read(subject), { tasksKnown: null }, 'a server that became another is learned again')
})

t.test('traits are deleted with their server', async t => {
  await store().learned.learn(subject, { tasksKnown: true })
  await store().forget(subject.id)
  t.match(await store().learned.read(subject), { tasksKnown: null })
})
