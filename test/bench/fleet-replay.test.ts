import { test } from 'tap'
import {
  boundOf, fairness, firstComeFirstServed, idleShare, overtakesOf, replay, type TraceJob
} from '../../bench/figures/fleet/replay.ts'

const load = 10
const job = (id: string, more: Partial<TraceJob> = {}): TraceJob => ({ id, checkpoint: 'a', work: 20, share: '', ...more })
const server = (alias: string, speed = 1, checkpoints = ['a']) => ({ alias, speed, checkpoints })
const at = (name: string, ids: string) => [...ids].map(jobId => ({ jobId, server: name }))

test('each change of the checkpoint costs a load', async t => {
  const shape = { servers: [server('S', 1, ['unused'])], load }
  const jobs = [job('1'), job('2', { checkpoint: 'b' }), job('3')]
  const inTurn = replay(shape, jobs, at('S', '123'))
  const sorted = replay(shape, jobs, at('S', '132'))
  t.match(inTurn, { loads: 3, length: 90 })
  t.match(sorted, { loads: 2, length: 80 })
  t.equal(boundOf(shape, jobs), 80)
})

test('a server is as fast as its speed, and waits for a job that has not yet arrived', async t => {
  const shape = { servers: [server('slow'), server('fast', 4)], load }
  const jobs = [job('1'), job('2'), job('3', { arrives: 50 })]
  const { length, jobs: [, quick] } = replay(shape, jobs, [...at('slow', '1'), ...at('fast', '23')])
  t.equal(length, 55)
  t.match(quick, { began: 0, ended: 5 })
  t.equal(boundOf(shape, jobs), 12)
})

test('of a job that ran twice, only the first time counts', async t => {
  const shape = { servers: [server('S')], load }
  t.equal(replay(shape, [job('1')], at('S', '11')).length, 20)
  t.strictSame(overtakesOf([job('1'), job('2')], at('S', '1221')), [0, 0])
})

test('first come, first served gives each server as many jobs', async t => {
  const placed = firstComeFirstServed({ servers: [server('A'), server('B', 3)], load }, [job('1'), job('2'), job('3')])
  t.strictSame(placed, [...at('A', '1'), ...at('B', '2'), ...at('A', '3')])
})

test('a job is overtaken by those that arrived later and began before it', async t => {
  t.strictSame(overtakesOf([job('1'), job('2'), job('3')], at('S', '231')), [2, 0, 0])
  t.strictSame(overtakesOf([job('1'), job('2'), job('3')], at('S', '3')), [1, 1, 0], 'one that never began too')
})

test('fairness is 1 where shares take turns, whatever one does once it is alone, and least where one has all', async t => {
  const shape = { servers: [server('S')], load }
  const jobs = [...'1234'].map(id => job(id, { share: 'hog' }))
    .concat([...'56'].map(id => job(id, { share: 'light' })))
  const fairnessOf = (ids: string) => fairness(replay(shape, jobs, at('S', ids)).jobs)
  t.equal(fairnessOf('152634'), 1)
  t.equal(fairnessOf('123456'), 0.5, 'a half of two shares')
  t.ok(fairnessOf('125346') < 1)
})

test('a server is idle while work waits until the last job begins', async t => {
  const spans = [{ from: 0, to: 10 }, { from: 10, to: 20 }, { from: 0, to: 5 }]
  t.equal(idleShare(spans, 2), 1 - 15 / 20)
})
