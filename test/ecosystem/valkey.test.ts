import { Redis } from 'ioredis'
import t from 'tap'
import { judgeRedis, parseInfo, tryRedis, versionOf } from '../../src/redis/check.ts'
import { quick, startService } from '../helper.ts'
import { startTestRedis } from '../redis.ts'
import { tool } from './tool.ts'

const { path: program, skip } = tool('valkey')

t.test('the service does its main job on Valkey, and no check of the database finds a fault', { skip }, async t => {
  const redis = await startTestRedis({ program, persistence: 'always' })
  t.teardown(redis.stop)
  const service = await startService(t, { redis })
  const done = await service.until(await service.submit({ ...quick, n_iter: 2 }), 'completed', 'failed')
  t.match(done, { status: 'completed', images: { length: 2 } })
  t.equal((await service.request('GET', '/ready')).status, 200)

  const connection = new Redis(redis.url)
  t.teardown(() => connection.disconnect())
  t.match(await versionOf(connection), /^Valkey \d/)
  const findings = judgeRedis({ info: parseInfo(await connection.info()), appendfsync: 'always' })
  t.same([...findings, ...await tryRedis(connection, service.services.keys)].filter(({ level }) => level !== 'fine'), [])
})
