import t from 'tap'
import { noteClasses } from '../../src/jobs/scripts/index.ts'
import {
  dial, facts, fence, newWorld, type NewJob, otherClass, ownClass, redis, scripts, type World
} from './script-world.ts'

/**
 * Where a newcomer stands among jobs that one server has not reached yet, when another server is further. Server `one`
 * can run only the jobs of one class, `two` only those of the others.
 */
const thirdClass = 'facade00-2'

async function newFleet (): Promise<World> {
  const world = await newWorld()
  await noteClasses(redis, world.prefix, ['one', fence, ownClass, '1', otherClass, '0', thirdClass, '0'])
  await noteClasses(redis, world.prefix, ['two', fence, ownClass, '0', otherClass, '1', thirdClass, '1'])
  return world
}

const atTwo = (id: string, more: NewJob = {}): NewJob =>
  ({ id, target: 'two', jobClass: otherClass, ms: 10_000, ...more })
const urgent = { priority: 9, weight: 4 }

/** `two` begins one of twelve jobs that name it, and `one` the last of all: the other eleven wait. */
async function hold (world: World): Promise<void> {
  for (let at = 0; at < 12; at++) await world.create(atTwo(`bulk ${at}`))
  await world.create({ id: 'late', ms: 200_000 })
  await world.claim({ server: 'two', facts: facts.replaceAll('deadbeef', 'c0ffee00') })
  await world.claim({ server: 'one' })
}

async function orderOf ({ keys }: World, id: string): Promise<number> {
  return Number(await redis.hget(keys.key('job', id), 'order'))
}

t.test('a newcomer stands where the server that it needs has come, however far another one is', async t => {
  const cases: ReadonlyArray<readonly [string, NewJob, number]> = [
    ['of a higher priority', atTwo('new', urgent), 12.5],
    ['of another user', atTwo('new', { user: 'ann' }), 20],
    ['with another checkpoint', atTwo('new', { ...urgent, jobClass: thirdClass }), 12.5],
    ['that names no server, but a checkpoint that only this one has', { ...atTwo('new', urgent), target: '' }, 12.5],
    ['of a user with earlier jobs: they count', atTwo('new'), 330],
    ['that another server can run', { id: 'new', ...urgent, ms: 10_000 }, 322.5]
  ]
  for (const [what, job, order] of cases) {
    const world = await newFleet()
    await hold(world)
    t.ok(await world.create(job))
    t.equal(await orderOf(world, 'new'), order, what)
  }
})

t.test('a job of another priority is a newcomer too', async t => {
  const world = await newFleet()
  await hold(world)
  await world.create(atTwo('new'))
  await scripts.moveJob(redis, world.prefix, ['new', 'priority', '9', '4', '', dial])
  t.equal(await orderOf(world, 'new'), 12.5)
})

t.test('a new key waits for one job of a busy key at its server, however far another server is', async t => {
  const world = await newFleet()
  const { keys, prefix } = world
  for (let at = 0; at < 12; at++) await world.create(atTwo(`hog ${at}`, { key: 'hog' }))
  for (const server of ['one', 'three', 'four']) {
    await redis.set(keys.key('lease', server, 'fence'), fence)
    await noteClasses(redis, prefix, [server, fence, ownClass, '1', otherClass, '0'])
    await world.create({ id: server, key: 'far', ms: 300_000 })
  }
  for (const server of ['one', 'three', 'four']) await world.claim({ server })
  t.equal(Number(await redis.get(keys.key('fair-now'))), 600, 'the virtual time of the pool')
  await world.create(atTwo('new', { key: 'new' }))
  const warm = facts.replaceAll('deadbeef', 'c0ffee00')
  t.equal((await world.claim({ server: 'two', facts: warm }))[2], 'hog 0')
  await redis.set(keys.key('lease', 'five', 'fence'), fence)
  await noteClasses(redis, prefix, ['five', fence, ownClass, '0', otherClass, '1'])
  t.equal((await world.claim({ server: 'five', facts: warm }))[2], 'new')
})
