import { mkdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createStorageCheck } from '../../src/media/storage.ts'
import { silentLogger } from '../helper.ts'

t.test('a wait for space ends with its signal, also if that fires during a check', async t => {
  const folder = join(t.testdir({}), 'outputs')
  await mkdir(folder)
  const log = silentLogger
  const storage = createStorageCheck({ folders: { outputs: folder }, minFree: 0, interval: 60_000, log })
  t.teardown(storage.close)
  await rename(folder, `${folder}-away`)
  const leaving = new AbortController()
  const waiting = storage.untilUsable(leaving.signal)
  leaving.abort()
  await waiting
  t.match(storage.last(), { errno: 'ENOENT' })
  await storage.untilUsable(AbortSignal.abort())
})
