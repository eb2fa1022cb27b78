import { mkdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createStorageCheck } from '../../src/media/storage.ts'
import type { StorageFault } from '../../src/media/storage-fault.ts'
import { silentLogger } from '../helper.ts'

t.test('a folder that hangs is a fault, and no second call of it follows', async t => {
  let calls = 0
  let answers = false
  let end = () => {}
  const storage = createStorageCheck({
    folders: { outputs: '/mnt/hangs' },
    minFree: 0,
    interval: 1,
    log: silentLogger,
    patience: 1,
    tryIn: async () => {
      calls++
      if (answers) return null
      return await new Promise(resolve => { end = () => { resolve(null) } })
    }
  })
  t.teardown(storage.close)
  t.match(await storage.fault(), { errno: 'ETIMEDOUT', path: '/mnt/hangs', reason: 'the network drive does not answer' })
  t.match(await storage.fault(), { errno: 'ETIMEDOUT' })
  t.equal(calls, 1)
  const waiting = storage.untilUsable(new AbortController().signal)
  // The call can end between two looks at it; then the next one makes another.
  answers = true
  end()
  await waiting
  t.equal(storage.last(), null)
})

t.test('a process whose fault lasts is not fit, and is again when the fault is over for a while', async t => {
  let fault: StorageFault | null = null
  let now = 0
  const real = performance.now
  performance.now = () => now
  t.teardown(() => { performance.now = real })
  const storage = createStorageCheck({
    folders: { outputs: '/mnt' }, minFree: 0, interval: 1000, log: silentLogger, tryIn: async () => fault
  })
  t.teardown(storage.close)
  const after = async (seconds: number, others: 'fit' | 'failing' = 'fit') => {
    now += seconds * 1000
    await storage.fault()
    return await storage.isFit(others)
  }
  t.equal(await after(1), true)
  fault = { errno: 'EROFS', path: '', reason: 'the file system is read-only' }
  t.equal(await after(1, 'failing'), false, 'another process fails: it looks for itself')
  t.equal(await after(9), true)
  t.equal(await after(2), false)
  t.equal(storage.hasLasted(), true)
  fault = null
  t.equal(await after(2), false)
  t.equal(await after(57), false)
  t.equal(await after(4, 'failing'), true)
  t.equal(storage.hasLasted(), false)
})

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

t.test('a wait for space ends also if another check ends the fault at the moment at which the wait begins', async t => {
  for (let turns = 0; turns < 40; turns++) {
    const ends: Array<(fault: StorageFault | null) => void> = []
    const storage = createStorageCheck({
      folders: { outputs: '/mnt' },
      minFree: 0,
      interval: 60_000,
      log: silentLogger,
      tryIn: async () => await new Promise(resolve => { ends.push(resolve) })
    })
    const first = storage.fault()
    ends.shift()?.({ errno: 'EROFS', path: '/mnt', reason: 'the file system is read-only' })
    await first
    // The wait asks for no check of its own, as the last one is recent.
    const check = storage.isFit('failing')
    ends.shift()?.(null)
    for (let turn = 0; turn < turns; turn++) await null
    const waiting = storage.untilUsable(new AbortController().signal)
    await check
    const outcome = await Promise.race([waiting.then(() => 'over'), new Promise(resolve => { setImmediate(resolve, 'waits') })])
    t.equal(outcome, 'over', `${turns} turns after the end of the check`)
    storage.close()
  }
})
