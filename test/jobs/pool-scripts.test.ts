import t from 'tap'
import { noteClasses, readPositions } from '../../src/jobs/scripts/index.ts'
import {
  check, type Claim, dial, facts, fence, id, needsOf, type NewJob, newWorld, otherClass, owner, ownClass,
  redis, scripts, type World
} from './script-world.ts'

/** The scripts by which jobs enter the pool, and servers take them out of it. */
const create = (job: NewJob = {}) => async (world: World) => await world.create(job)
const claim = (given: Claim = {}) => async (world: World) => await world.claim(given)

t.test('create-job', async t => {
  await check(t, [
    ['none', 'creates it', create(), ['created', 1, Number, ''], {
      record: {
        status: 'pending',
        server: '',
        target: '',
        run: '1',
        priority: '5',
        key: 'k',
        share: 'k',
        list: 'k',
        order: '1',
        class: ownClass,
        needs: needsOf(ownClass),
        ms: '1000',
        weight: '1',
        user: '',
        webhook: null,
        bulk: null,
        charged: null
      },
      events: ['accepted'],
      pool: [id],
      fair: { k: 0 },
      finish: {}
    }],
    ['none', 'that needs a server', create({ target: 'two' }), ['created', 1, Number, ''],
      { record: { server: 'two', target: 'two' }, events: ['accepted'], pool: [id] }],
    ['none', 'without a key', create({ key: '' }), ['created', 1, Number, ''],
      { record: { key: null, share: '', list: '' }, events: ['accepted'], lists: { '': [id] }, fair: { '': 0 } }],
    ['none', 'with a webhook and a bulk', create({ events: ',job.failed,', bulk: 'b' }), ['created', 1, Number, ''],
      { record: { webhook: '{"url":"u"}', webhookEvents: ',job.failed,', bulk: 'b' }, events: ['accepted'] }],
    ['none', 'too late', create({ last: 1 }), ['late'], { record: null, pool: [] }],
    ['none', 'no job of the key can wait', create({ most: 0 }), ['full', 0], { record: null, pool: [] }],
    ['none', 'the limit does not concern those without a key', create({ most: 0, key: '' }),
      ['created', 1, Number, ''], { record: { status: 'pending' }, events: ['accepted'] }],
    ['none', 'a group finds space for all or none', create({ most: 2, size: 3 }), ['full', 0], { record: null }],
    ['pending', 'it exists', create(), ['exists']],
    ['claimed', 'it exists', create(), ['exists']],
    ['processing', 'it exists', create(), ['exists']],
    ['completed', 'it exists', create(), ['exists'], { pool: [] }],
    ['pending', 'another one, behind it', create({ id: 'other' }), ['created', 2, Number, ''],
      { events: ['accepted'], pool: [id, 'other'] }],
    ['pending', 'another one of more weight, ahead of it', create({ id: 'other', priority: 10, weight: 2 }),
      ['created', 1, Number, ''], { events: ['accepted'], pool: ['other', id] }],
    ['pending', 'another one of another user, beside it', create({ id: 'other', user: 'ann', ms: 500 }),
      ['created', 1, Number, ''], { events: ['accepted'], pool: ['other', id] }],
    ['pending', 'the limit is reached', create({ id: 'other', most: 1 }), ['full', 1]],
    ['claimed', 'the limit counts what has not begun', create({ id: 'other', most: 1 }), ['full', 1]],
    ['pending', 'the limit is that of another key', create({ id: 'other', key: 'l', most: 1 }),
      ['created', Number, Number, ''], { events: ['accepted'], fair: { k: 0, l: 0 } }],
    ['none', 'a group keeps space for its others', async world => [
      await create({ most: 2, group: 'g', size: 2 })(world), await create({ id: 'stranger', most: 2 })(world),
      await create({ id: 'second', most: 2, group: 'g', size: 2 })(world), await create({ id: 'third', most: 2 })(world)
    ], [['created', 1], ['full', 2], ['created', 2], ['full', 2]],
    { record: { status: 'pending' }, pool: [id, 'second'], events: ['accepted', 'accepted'] }],
    ['none', 'an idle server gets it at once', async world => [
      await claim({ idle: 'idle' })(world), await create()(world)
    ], [['none', -1], ['created', 1, Number, 'one']], {
      record: { server: 'one', target: '', fixed: 'Own v1', charged: '1' }, events: ['accepted'], claimed: [id], pool: [], idle: []
    }],
    ['none', 'of idle servers, one that has its checkpoint loaded gets it', async world => [
      await claim({ idle: 'idle', facts: facts.replace('"speed":1', '"speed":0.1') })(world),
      await claim({ server: 'two', idle: 'idle', facts: facts.replace('deadbeef', 'c0ffee00') })(world),
      await create({ jobClass: otherClass })(world)
    ], [['none'], ['none', -1], ['created', 1, Number, 'two']], { record: { server: 'two', fixed: null }, events: ['accepted'], idle: ['one'] }],
    ['none', 'of equal idle servers, the fastest gets it', async world => [
      await claim({ idle: 'idle' })(world),
      await claim({ server: 'two', idle: 'idle', facts: facts.replace('"speed":1', '"speed":0.1') })(world),
      await create()(world)
    ], [['none'], ['none', -1], ['created', 1, Number, 'two']], { record: { server: 'two' }, events: ['accepted'], idle: ['one'] }],
    ['none', 'an idle server that cannot run it does not get it', async world => {
      await noteClasses(redis, world.prefix, ['one', fence, ownClass, '0'])
      return [await claim({ idle: 'idle' })(world), await create()(world)]
    }, [['none', -1], ['created', 1, Number, '']], { record: { server: '' }, events: ['accepted'], pool: [id], idle: ['one'] }],
    ['none', 'a process that lost its lease does not get it', async world => {
      await claim({ idle: 'idle' })(world)
      await redis.set(world.keys.key('lease', 'one', 'fence'), fence + 1)
      return await create()(world)
    }, ['created', 1, Number, ''], { record: { server: '' }, events: ['accepted'], pool: [id] }]
  ])
})

t.test('claim-job', async t => {
  const others = (...jobs: NewJob[]) => async (world: World) => {
    for (const job of jobs) await world.create(job)
  }
  const taken = (name: string) => ({ record: { server: 'one', claimed: /^\d+$/ }, claimed: [name] })
  await check(t, [
    ['none', 'there is nothing', claim(), ['none', -1], { record: null, idle: [] }],
    ['none', 'there is nothing, and the server is idle', claim({ idle: 'idle' }), ['none', -1], { record: null, idle: ['one'] }],
    ['pending', 'takes it', claim(), ['claimed', 0, id, Array], {
      ...taken(id), pool: [], fair: {}, finish: { k: 1 }, holds: { one: 'deadbeef' }
    }],
    ['pending', 'the own checkpoint of the server stays with a job that names none', claim(), ['claimed', 0, id, Array],
      { record: { fixed: 'Own v1' } }],
    ['pending', 'an unknown checkpoint does not', claim({ facts: facts.replace('Own v1', '') }), ['claimed', 0, id, Array],
      { record: { fixed: null } }],
    ['pending', 'an earlier lease', claim({ fence: 6 }), ['lease_lost'], { pool: [id] }],
    ['claimed', 'has claimed one already', async world => {
      await world.create({ id: 'other' })
      return await world.claim()
    }, ['ready'], { events: ['accepted'], claimed: [id], pool: ['other'] }],
    ['claimed', 'another server takes the next', async world => {
      await world.create({ id: 'other' })
      return await world.claim({ server: 'two' })
    }, ['claimed', 0, 'other', Array], { events: ['accepted'], claimed: [id], pool: [] }],
    ['targeted', 'another server than the one that it needs', async world => {
      await noteClasses(redis, world.prefix, ['one', fence, ownClass, '0'])
      return [await world.claim(), await world.claim({ server: 'two' })]
    }, [['none', -1], ['claimed', 0, id, Array]], { record: { server: 'two' }, claimed: [] }],
    ['pending', 'a class that the server does not know', async world => {
      await noteClasses(redis, world.prefix, ['one', fence])
      return await world.claim()
    }, ['unknown', ownClass, needsOf(ownClass)], { pool: [id] }],
    ['resting', 'a resting job', claim(), ['none', Number], { pool: [] }],
    ['resting', 'a job that has rested', async world => {
      await redis.zadd(world.keys.key('resting'), 1, id)
      return await world.claim()
    }, ['claimed', 0, id, Array], { ...taken(id), pool: [] }],
    ['resting', 'a job that rests, after the clock was set back by an hour', async world => {
      await redis.zincrby(world.keys.key('resting'), 3_600_000, id)
      return await world.claim()
    }, ['claimed', 0, id, Array], { ...taken(id), pool: [] }],
    ['pending', 'the loaded checkpoint goes first', async world => {
      await others({ id: 'second', jobClass: otherClass }, { id: 'third', jobClass: otherClass })(world)
      return await world.claim({ facts: facts.replace('"loaded":"deadbeef"', '"loaded":"c0ffee00"') })
    }, ['claimed', 1, 'second', Array], {
      events: ['accepted', 'accepted'], claimed: ['second'], pool: [id, 'third'], skips: { [id]: 1 }, holds: { one: 'c0ffee00' }
    }]
  ])
  await t.test('no job is passed over more often than its patience', async t => {
    const world = await newWorld()
    await others({}, ...['1', '2', '3', '4', '5'].map(name => ({ id: name, jobClass: otherClass })))(world)
    const order: unknown[] = []
    for (let turn = 0; turn < 6; turn++) {
      // Each server claims one, and has the checkpoint of the later jobs loaded.
      const server = `s${turn}`
      await redis.set(world.keys.key('lease', server, 'fence'), fence)
      await noteClasses(redis, world.prefix, [server, fence, ownClass, '1', otherClass, '1'])
      order.push((await world.claim({ server, facts: facts.replace('"loaded":"deadbeef"', '"loaded":"c0ffee00"') }))[2])
    }
    t.same(order, ['1', '2', '3', id, '4', '5'])
  })
  await t.test('shares take turns, whatever each has waiting', async t => {
    const world = await newWorld()
    await others(...['1', '2', '3', '4'].map(name => ({ id: `hog-${name}`, key: 'hog' })), { id: 'light-1', key: 'light' },
      { id: 'light-2', key: 'light' })(world)
    const order: unknown[] = []
    for (let turn = 0; turn < 6; turn++) {
      const server = `s${turn}`
      await redis.set(world.keys.key('lease', server, 'fence'), fence)
      await noteClasses(redis, world.prefix, [server, fence, ownClass, '1', otherClass, '1'])
      order.push((await world.claim({ server }))[2])
    }
    t.same(order.slice(0, 4).map(name => String(name).split('-')[0]).toSorted(), ['hog', 'hog', 'light', 'light'])
    t.same(order.slice(4), ['hog-3', 'hog-4'])
  })
  /** What a process of an earlier version does to a waiting job that this one has put into the pool. */
  const earlier: ReadonlyArray<readonly [string, (world: World) => Promise<unknown>, unknown, readonly string[]]> = [
    ['cancels', async ({ keys }) => await redis.hset(keys.key('job', id), 'status', 'cancelled'), ['none', -1], []],
    ['removes', async ({ keys }) => await redis.del(keys.key('job', id)), ['none', -1], []],
    ['moves', async ({ keys }) => {
      await redis.hset(keys.key('job', id), 'server', 'two', 'run', 2)
      return await redis.zadd(keys.key('line', 'two'), 1, id)
    }, ['none', -1], [id]],
    ['reorders', async ({ keys }) => {
      await redis.hset(keys.key('job', id), 'run', 2)
      return await redis.zadd(keys.key('line', ''), 1, id)
    }, ['claimed', 0, id, Array], []]
  ]
  for (const [does, change, answer, inLineOfTwo] of earlier) {
    await t.test(`a job that an earlier version ${does} is claimed only if it still waits in the pool`, async t => {
      const world = await newWorld()
      const { keys } = world
      await world.create()
      await world.create({ id: 'behind', key: 'other', jobClass: otherClass, target: 'two' })
      await noteClasses(redis, world.prefix, ['one', fence, otherClass, '0'])
      await change(world)
      t.match(await world.claim(), answer)
      t.same(await redis.zrange(keys.key('own', 'k'), '0', '-1'), [], 'it is in no list of the pool')
      t.equal(await redis.hget(keys.key('class-counts'), ownClass), null)
      t.same(await redis.zrange(keys.key('line', 'two'), '0', '-1'), inLineOfTwo)
      t.same(await redis.exists(keys.key('line', '')), 0)
      t.match(await world.claim({ server: 'two' }), inLineOfTwo.length > 0 ? ['ready'] : ['claimed', 0, 'behind', Array])
    })
  }
})

t.test('note-classes', async t => {
  const note = (server: string, lease: number, ...answers: string[]) => async ({ keys, prefix }: World) =>
    [await noteClasses(redis, prefix, [server, lease, ...answers]), await redis.hgetall(keys.key('can', server))]
  await check(t, [
    ['pending', 'notes answers', note('one', fence, 'x', '0'), [1, { [ownClass]: '1', [otherClass]: '1', x: '0' }], { pool: [id] }],
    ['pending', 'forgets all', note('one', fence), [1, {}], { pool: [id] }],
    ['pending', 'an earlier lease', note('one', 6), [0, { [ownClass]: '1', [otherClass]: '1' }], { pool: [id] }]
  ])
})

t.test('unclaim-job', async t => {
  type Given = Partial<{ server: string, id: string, fence: number | '', jobClass: string, restMs: number }>
  const unclaim = (given: Given = {}) => async ({ prefix }: World) => await scripts.unclaimJob(redis, prefix, [
    given.server ?? 'one', given.id ?? '', given.fence ?? fence, given.jobClass ?? '',
    given.jobClass === undefined ? '' : needsOf(given.jobClass), given.restMs ?? 0, dial
  ])
  await check(t, [
    ['none', 'has claimed nothing', unclaim(), [], { record: null }],
    ['pending', 'has claimed nothing', unclaim(), [], { pool: [id] }],
    ['claimed', 'goes back to its position', async world => {
      await world.create({ id: 'other' })
      return await unclaim()(world)
    }, [id], {
      record: { status: 'pending', server: '', run: '2', order: '1', fixed: null, charged: null, claimed: null },
      events: ['accepted', 'moved'],
      claimed: [],
      pool: [id, 'other'],
      fair: { k: 0 },
      skips: { [id]: 3 }
    }],
    ['claimed', 'only this one', unclaim({ id }), [id], { record: { run: '2' }, events: ['moved'], pool: [id] }],
    ['claimed', 'only another one', unclaim({ id: 'other' }), [], { claimed: [id] }],
    ['claimed', 'an earlier lease', unclaim({ fence: 6 }), [], { claimed: [id] }],
    ['claimed', 'no process serves the server', unclaim({ fence: '' }), [id], { record: { run: '2' }, events: ['moved'], pool: [id] }],
    ['claimed', 'of another server', unclaim({ server: 'two' }), [], { claimed: [id] }],
    ['claimed', 'with other needs', unclaim({ jobClass: otherClass }), [id],
      { record: { class: otherClass, needs: needsOf(otherClass), run: '2' }, events: ['moved'], pool: [id] }],
    ['claimed', 'and rests', unclaim({ restMs: 3_600_000 }), [id],
      { record: { run: '2', server: '' }, events: ['moved'], pool: [], fair: {}, finish: { k: 0 } }],
    ['claimed', 'an idle server takes it', async world => {
      await world.claim({ server: 'two', idle: 'idle' })
      return await unclaim()(world)
    }, [id], { record: { server: 'two', run: '2', charged: '1' }, events: ['moved'], claimed: [], pool: [], idle: [] }],
    ['claimed', 'the server itself is no longer idle', async world => {
      await redis.hset(world.keys.key('idle'), 'one', '{}')
      return await unclaim()(world)
    }, [id], { record: { server: '' }, events: ['moved'], pool: [id], idle: [] }],
    ['targeted', 'a job that needs the server goes back, and needs it', async world => {
      await world.claim({ server: 'two' })
      return await unclaim({ server: 'two' })(world)
    }, [id], { record: { server: 'two', target: 'two', run: '2' }, events: ['moved'], pool: [id] }],
    ['processing', 'runs', unclaim(), []]
  ])
})

t.test('read-positions', async t => {
  const read = (name = id) => async ({ prefix }: World) => (await readPositions(redis, prefix, [name]))[0]
  await check(t, [
    ['none', 'is gone', read(), 0, { record: null }],
    ['pending', 'is the only one', read(), 1],
    ['claimed', 'a server has claimed it', read(), 1],
    ['claimed', 'the next one', async world => {
      await world.create({ id: 'other' })
      return await read('other')(world)
    }, 2, { events: ['accepted'] }],
    ['pending', 'behind another', async world => {
      await world.create({ id: 'other' })
      return await read('other')(world)
    }, 2, { events: ['accepted'] }],
    ['pending', 'of one that needs another server than those before it', async world => {
      await noteClasses(redis, world.prefix, ['two', fence, ownClass, '0'])
      await world.create({ id: 'other', target: 'two', jobClass: otherClass })
      return await read('other')(world)
    }, 1, { events: ['accepted'] }],
    ['processing', 'runs', read(), 0],
    ['completed', 'has ended', read(), 0]
  ])
})

t.test('adopt-job', async t => {
  /** A waiting job as the version before the pool left it: bound to server `one`. */
  const bind = async ({ keys }: World, run = '1') => {
    await redis.hset(keys.key('job', id), {
      status: 'pending',
      server: 'one',
      priority: 5,
      run,
      key: 'k',
      arrival: 1,
      created: 1,
      updated: 1,
      lane: 5,
      place: '5000000000001',
      submission: '{"parameters":{},"anyServer":true}'
    })
    for (const k of ['*', 'k']) {
      for (const s of ['*', 'one']) for (const status of ['*', 'pending']) await redis.zadd(keys.key('jobs', k, s, status), 1, id)
    }
    await redis.zadd(keys.key('line', 'one'), '5000000000001', id)
    await redis.zadd(keys.key('entering', 'one'), 1, `${id}_${run}`)
    await redis.zadd(`${keys.bullPrefix}:generation-one:prioritized`, 1, `${id}_${run}`)
    await redis.hset(`${keys.bullPrefix}:generation-one:${id}_${run}`, { name: 'generate', data: '{}', opts: '{}' })
  }
  const adopt = (given: Partial<{ server: string, fence: number, target: string }> = {}) =>
    async ({ prefix }: World) => await scripts.adoptJob(redis, prefix, [id, given.server ?? 'one', given.fence ?? fence,
      given.target ?? '', ownClass, needsOf(ownClass), 1000, 1, 'ann'])
  const bound = (act: (world: World) => Promise<unknown>) => async (world: World) => {
    await bind(world)
    return await act(world)
  }
  await check(t, [
    ['none', 'is gone', adopt(), 0, { record: null }],
    ['none', 'goes into the pool', bound(adopt()), 1, {
      record: { server: '', target: '', share: 'k', list: 'k', user: 'ann', run: '2', class: ownClass, lane: null, place: null },
      pool: [id],
      claimed: []
    }],
    ['none', 'goes into the pool, and needs its server', bound(adopt({ target: 'one' })), 1,
      { record: { server: 'one', target: 'one', run: '2' }, pool: [id], claimed: [] }],
    ['none', 'is claimed after that', bound(async world => [await adopt()(world), await world.claim()]), [1, ['claimed', 0, id, Array]],
      { record: { server: 'one', run: '2' }, claimed: [id], pool: [] }],
    ['pending', 'is of this version', adopt(), 0, { pool: [id] }],
    ['claimed', 'is of this version', adopt(), 0, { claimed: [id] }],
    ['processing', 'runs', adopt(), 0],
    ['completed', 'has ended', adopt(), 0]
  ])
  await t.test('neither the process of an earlier lease nor that of another server moves it', async t => {
    const world = await newWorld()
    await bind(world)
    t.equal(await adopt({ fence: 6 })(world), 0)
    t.equal(await adopt({ server: 'two' })(world), 0)
    t.same(await redis.zrange(world.keys.key('line', 'one'), '0', '-1'), [id])
  })
  const move = (...[how, value = '', detail = '', needs = '']: string[]) => async ({ prefix }: World) =>
    await scripts.moveJob(redis, prefix, [id, how as 'first', value, detail, needs, dial])
  /** Changes the record and its indexes as that version did. */
  const become = async ({ keys }: World, status: 'failed' | 'processing') => {
    await redis.hset(keys.key('job', id), { status, owner, started: 1, priority: 1 })
    await redis.zrem(keys.key('line', 'one'), id)
    await redis.zrem(`${keys.bullPrefix}:generation-one:prioritized`, `${id}_1`)
    for (const k of ['*', 'k']) {
      for (const s of ['*', 'one']) {
        await redis.zrem(keys.key('jobs', k, s, 'pending'), id)
        await redis.zadd(keys.key('jobs', k, s, status), 1, id)
      }
    }
  }
  await t.test('one that has no class yet waits at its server', async t => {
    const world = await newWorld()
    const { keys, prefix } = world
    await bind(world)
    t.same(await scripts.unclaimJob(redis, prefix, ['one', '', fence, '', '', 0, dial]), [], 'it is not given back')
    t.same(await move('first')(world), ['earlier'])
    t.same(await redis.zrange(keys.key('line', 'one'), '0', '-1'), [id])
    t.equal(await redis.hget(keys.key('job', id), 'run'), '1')
  })
  const pooled = { server: '', target: '', share: 'k', list: 'k', run: '2', class: ownClass, ms: '10000', lane: null, place: null }
  await check(t, [
    ['none', 'gets a class with a target', bound(move('target', '', ownClass, needsOf(ownClass))), ['moved', '2', Number],
      { record: { ...pooled, weight: '1', order: '10' }, events: ['moved'], pool: [id], claimed: [] }],
    ['none', 'is retried', bound(async world => {
      await become(world, 'failed')
      return await scripts.retryJob(redis, world.prefix, [id, '', ownClass, needsOf(ownClass), dial])
    }), ['entered', 2, Number], { record: { ...pooled, weight: '0.25', order: '40' }, events: ['accepted'], pool: [id] }],
    ['none', 'returns from a dead worker', bound(async world => {
      await become(world, 'processing')
      return await world.giveBack()
    }), ['returned', '2'], { record: { ...pooled, weight: '0.25' }, events: ['returned'], pool: [id] }],
    ['none', 'is claimed after that', bound(async world => {
      await become(world, 'processing')
      await world.giveBack()
      return await world.claim()
    }), ['claimed', 0, id, Array], { record: { server: 'one' }, events: ['returned'], claimed: [id], pool: [] }]
  ])
})

t.test('repair-waiting', async t => {
  /** Both walks, two jobs a page; how many entries each changed. */
  const repair = async ({ prefix }: World) => {
    const changed: number[] = []
    for (const what of ['missing', 'void'] as const) {
      let sum = 0
      for (let after = '0'; after !== '';) {
        const [last, count] = await scripts.repairWaiting(redis, prefix, [what, after, 2])
        sum += count
        after = last
      }
      changed.push(sum)
    }
    return changed
  }
  const entries = ({ keys }: World) => `${keys.bullPrefix}:waiting:prioritized`
  const five = async (world: World) => { for (const name of [id, '2', '3', '4', '5']) await world.create({ id: name }) }
  const fiveAccepted = Array.from({ length: 5 }, () => 'accepted')
  const same = { record: { run: '1' }, events: fiveAccepted }
  await check(t, [
    ['none', 'there is nothing', repair, [0, 0], { record: null }],
    ['none', 'nothing is wrong', async world => {
      await five(world)
      return await repair(world)
    }, [0, 0], same],
    ['none', 'entries are missing', async world => {
      await five(world)
      await redis.zrem(entries(world), `${id}_1`, '3_1', '5_1')
      return await repair(world)
    }, [3, 0], same],
    ['none', 'entries of no job', async world => {
      await five(world)
      for (const name of ['6_1', '1_2', 'x']) {
        await redis.zadd(entries(world), 1, name)
        await redis.hset(`${world.keys.bullPrefix}:waiting:${name}`, { name: 'generate', data: '{}', opts: '{}' })
      }
      return await repair(world)
    }, [0, 3], same],
    ['claimed', 'a claimed job needs none here', repair, [0, 0], { claimed: [id] }],
    ['resting', 'a resting job keeps its own', async world => {
      await redis.del(entries(world))
      return await repair(world)
    }, [1, 0]],
    ['cancelled', 'an ended job has none', async world => {
      await redis.zadd(entries(world), 1, `${id}_1`)
      await redis.hset(`${world.keys.bullPrefix}:waiting:${id}_1`, { name: 'generate', data: '{}', opts: '{}' })
      return await repair(world)
    }, [0, 1]]
  ])
})

t.test('read-order', async t => {
  const read = (server = '', most = 10) => async ({ prefix }: World) => await scripts.readOrder(redis, prefix, [server, most])
  /** Two shares, an express job, one that needs server `two`, and a claimed one. */
  const mixed = (act: (world: World) => Promise<unknown>) => async (world: World) => {
    await world.create({ id: 'ready' })
    await world.claim()
    for (const name of ['k1', 'k2', 'k3']) await world.create({ id: name })
    await world.create({ id: 's1', key: 's' })
    await world.create({ id: 'bound', key: 's', target: 'two', jobClass: otherClass })
    await world.create()
    await scripts.moveJob(redis, world.prefix, [id, 'express', '', '', '', dial])
    return await act(world)
  }
  const events = [...Array.from({ length: 7 }, () => 'accepted'), 'moved']
  const after = { record: { list: '!' }, events }
  await check(t, [
    ['none', 'there is nothing', read(), [], { record: null }],
    ['none', 'all, in the fair order', mixed(read()), ['ready', id, 's1', 'bound', 'k1', 'k2', 'k3'], after],
    ['none', 'only the first', mixed(read('', 3)), ['ready', id, 's1'], after],
    ['none', 'those that a server can run', mixed(async world => {
      await noteClasses(redis, world.prefix, ['one', fence, otherClass, '0'])
      return await read('one')(world)
    }), ['ready', id, 's1', 'k1', 'k2', 'k3'], after],
    ['none', 'those that another server has claimed are not among them', mixed(read('two')), [id, 's1', 'bound', 'k1', 'k2', 'k3'],
      after],
    ['resting', 'a resting job is not', read(), []]
  ])
})

t.test('a job in the background', async t => {
  const inLane: NewJob = { lane: '1' }
  await check(t, [
    ['none', 'has lists, tags and indexes of its own', create(inLane), ['created', 1, Number, ''], {
      record: { share: '~k', list: '~k', background: '1', key: 'k' }, events: ['accepted'], lists: { '~k': [id] }, fair: {}
    }],
    ['pending', 'stands behind all others', async world => [
      await create({ id: 'later', ...inLane, priority: 10, weight: 2 })(world), await create({ id: 'other' })(world)
    ], [['created', 2], ['created', 2]], { events: ['accepted', 'accepted'], pool: [id, 'other'], lists: { '~k': ['later'] } }],
    ['none', 'makes way for another job at the server that claimed it first', async world => {
      await create({ id: 'first', ...inLane })(world)
      await claim()(world)
      await redis.zincrby(world.keys.key('line', 'one'), -1000, 'first')
      await create({ id: 'second', ...inLane })(world)
      await claim({ server: 'two' })(world)
      await create()(world)
      return await claim()(world)
    }, ['claimed', 0, id, Array], {
      record: { server: 'one' },
      claimed: [id],
      pool: [],
      lists: { '~k': ['first'] },
      skips: { first: 3 },
      events: ['accepted', 'accepted', 'accepted', 'moved']
    }],
    ['none', 'keeps its server if the other job cannot run there', async world => {
      await create({ id: 'first', ...inLane })(world)
      await claim()(world)
      await noteClasses(redis, world.prefix, ['one', fence, otherClass, '0'])
      await create({ jobClass: otherClass })(world)
    }, undefined, { claimed: ['first'], pool: [id], events: ['accepted', 'accepted'], record: { status: 'pending' } }],
    ['resting', 'makes way for a job that has rested', async world => {
      await create({ id: 'first', ...inLane })(world)
      await claim({ server: 'two' })(world)
      await redis.zadd(world.keys.key('resting'), 1, id)
      return await claim()(world)
    }, ['claimed', 0, id, Array], {
      record: { server: 'one' }, events: ['accepted', 'moved'], claimed: [id], pool: [], lists: { '~k': ['first'] }
    }]
  ])
})
