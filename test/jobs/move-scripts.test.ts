import t from 'tap'
import { noteClasses, takeOver } from '../../src/jobs/scripts/index.ts'
import {
  check, dial, failure, fence, type GiveBack, id, listener, needsOf, newWorld, otherClass, owner, ownClass,
  redis, scripts, states, type World
} from './script-world.ts'

/** The scripts that change where a job waits, or whether it does. */
t.test('return-job', async t => {
  const giveBack = (given: GiveBack = {}) => async (world: World) => await world.giveBack(given)
  await check(t, [
    ['none', 'is gone', giveBack(), ['superseded'], { record: null }],
    ['pending', 'does not run', giveBack(), ['superseded']],
    ['claimed', 'does not run', giveBack(), ['superseded']],
    ['processing', 'waits again, at its old position', async world => {
      await world.create({ id: 'other' })
      return await giveBack()(world)
    }, ['returned', '2'], {
      record: {
        status: 'pending',
        server: '',
        run: '2',
        order: '1',
        used: '1',
        crashes: '1',
        sends: '1',
        deaths: null,
        attempts: '[{}]',
        charged: null,
        owner
      },
      events: ['accepted', 'returned'],
      claimed: [],
      pool: [id, 'other'],
      fair: { k: 0 }
    }],
    ['processing', 'with other needs', giveBack({ jobClass: otherClass }), ['returned', '2'],
      { record: { class: otherClass, needs: needsOf(otherClass) }, events: ['returned'], pool: [id] }],
    ['processing', 'and rests', giveBack({ restMs: 3_600_000 }), ['returned', '2'],
      { record: { status: 'pending', server: '' }, events: ['returned'], pool: [], fair: {}, finish: { k: 0 } }],
    ['processing', 'an idle server takes it', async world => {
      await world.claim({ server: 'two', idle: 'idle' })
      return await giveBack()(world)
    }, ['returned', '2'], { record: { server: 'two', run: '2', status: 'pending' }, events: ['returned'], pool: [] }],
    ['processing', 'its server died', giveBack({ disposition: 'gone', allowed: 1 }), ['returned', '2'],
      { record: { deaths: '1', sends: '1', status: 'pending' }, events: ['returned'] }],
    ['processing', 'it was not sent', giveBack({ disposition: 'unsent', allowed: 1 }), ['returned', '2'],
      { record: { sends: '0', status: 'pending' }, events: ['returned'] }],
    ['processing', 'it was stopped in order', giveBack({ disposition: 'stopped', allowed: 1 }), ['returned', '2'],
      { record: { sends: '0', status: 'pending' }, events: ['returned'] }],
    ['processing', 'it was sent as often as allowed', giveBack({ allowed: 1 }), ['spent'], {
      record: { status: 'failed', error: failure, run: '1', charged: null }, events: ['failed'], webhook: ['job.failed'], pool: []
    }],
    ['processing', 'another owner', giveBack({ owner: 'other' }), ['superseded']],
    ['processing', 'another run', giveBack({ run: 2 }), ['superseded']],
    ['processing', 'by the holder of the lease', giveBack({ fence }), ['returned', '2'],
      { record: { status: 'pending' }, events: ['returned'] }],
    ['processing', 'by a former holder of the lease', giveBack({ fence: 6 }), ['lease_lost']],
    ['cancelling', 'is cancelled', giveBack(), ['cancelled'],
      { record: { status: 'cancelled', charged: null }, events: ['cancelled'], webhook: ['job.cancelled'], pool: [] }],
    ['returned', 'the same claim again', giveBack(), ['returned', '2']],
    ['resting', 'the same claim again', giveBack(), ['returned', '2']],
    ['spent', 'the same claim again', giveBack({ allowed: 1 }), ['spent']],
    ['stopped', 'the same claim again', giveBack(), ['cancelled']],
    ['completed', 'has ended', giveBack(), ['superseded']]
  ])
})

t.test('take-over', async t => {
  const look = (lease = fence) => async ({ prefix }: World) => await takeOver(redis, prefix, ['one', lease])
  /** The answers to two processes that take the server over, one after the other. */
  const twice = (act: (world: World) => Promise<unknown>) => async (world: World) => {
    await act(world)
    return [await look()(world), await look()(world)]
  }
  await check(t, [
    ['pending', 'was not sent', look(), []],
    ['claimed', 'can have been sent', look(), [id], { claimed: [id] }],
    ['claimed', 'a former holder of the lease', look(6), [], { claimed: [id] }],
    ['claimed', 'can have been sent before it went back', twice(async world => {
      await look()(world)
      await scripts.unclaimJob(redis, world.prefix, ['one', '', fence, '', '', 0, dial])
    }), [[id], [id]], { record: { run: '2' }, events: ['moved'], claimed: [], pool: [id] }],
    ['claimed', 'can have been sent before it was cancelled', twice(async world => await world.cancel()), [[id], [id]],
      { record: { status: 'cancelled' }, events: ['cancelled'], webhook: ['job.cancelled'], claimed: [] }],
    ['processing', 'its record says that it was sent', look(), []],
    ['processing', 'the server can still work on it', twice(async world => await world.giveBack({ fence })), [[id], [id]],
      { record: { run: '2' }, events: ['returned'], pool: [id] }],
    ['processing', 'the run that returned it had stopped it', twice(async world => await world.giveBack()), [[], []],
      { record: { run: '2' }, events: ['returned'], pool: [id] }]
  ])
})

t.test('cancel-job', async t => {
  const cancel = async (world: World) => await world.cancel()
  const ended = { events: ['cancelled'], webhook: ['job.cancelled'], pool: [], claimed: [], fair: {} }
  await check(t, [
    ['none', 'is gone', cancel, ['gone'], { record: null }],
    ['pending', 'ends', cancel, ['cancelled'],
      { record: { status: 'cancelled', cancel: /^\d+$/, ended: /^\d+$/ }, ...ended, finish: {} }],
    ['targeted', 'ends', cancel, ['cancelled'], { record: { status: 'cancelled', server: 'two' }, ...ended }],
    ['claimed', 'ends, and its share gets back what it paid', cancel, ['cancelled'],
      { record: { status: 'cancelled', charged: null, claimed: null }, ...ended, finish: { k: 0 } }],
    ['returned', 'ends, as its second run', cancel, ['cancelled'], { record: { status: 'cancelled' }, ...ended }],
    ['resting', 'ends', cancel, ['cancelled'], { record: { status: 'cancelled' }, ...ended }],
    ['processing', 'is asked to stop', cancel, ['requested'], { record: { status: 'processing', cancel: /^\d+$/ } }],
    ['cancelling', 'again', cancel, ['requested'], { record: { status: 'processing' } }],
    ['completed', 'has ended', cancel, ['ended', 'completed']],
    ['cancelled', 'has ended', cancel, ['ended', 'cancelled']]
  ])
  const here = await newWorld()
  await states.processing(here)
  await listener.subscribe(here.keys.channel('cancel'))
  const heard = new Promise(resolve => { listener.once('message', (_channel, text) => { resolve(text) }) })
  await cancel(here)
  t.equal(await heard, id, 'the process that runs it gets a notice')
})

t.test('retry-job', async t => {
  const retry = (most: number | '' = '', jobClass = ownClass) => async ({ prefix }: World) =>
    await scripts.retryJob(redis, prefix, [id, most, jobClass, needsOf(jobClass), dial])
  const cleared = {
    error: null,
    result: null,
    cancel: null,
    ended: null,
    started: null,
    used: null,
    crashes: null,
    sends: null,
    deaths: null,
    progress: null,
    fixed: null,
    charged: null
  }
  await check(t, [
    ['none', 'is gone', retry(), ['gone'], { record: null }],
    ['pending', 'waits', retry(), ['active', 'pending']],
    ['claimed', 'waits', retry(), ['active', 'pending']],
    ['processing', 'runs', retry(), ['active', 'processing']],
    ['completed', 'is done', retry(), ['active', 'completed']],
    ['failed', 'waits again', retry(), ['entered', 2, 1],
      { record: { status: 'pending', server: '', run: '2', firstRun: '2', ...cleared }, events: ['accepted'], pool: [id] }],
    ['failed', 'waits again, with the needs of the beginning', retry('', otherClass), ['entered', 2, 1],
      { record: { status: 'pending', class: otherClass, needs: needsOf(otherClass) }, events: ['accepted'], pool: [id] }],
    ['failed', 'behind what has arrived since', async world => {
      await world.create({ id: 'other' })
      return await retry()(world)
    }, ['entered', 2, 2], { record: { status: 'pending' }, events: ['accepted', 'accepted'], pool: ['other', id] }],
    ['cancelled', 'waits again', retry(), ['entered', 2, 1],
      { record: { status: 'pending', run: '2', ...cleared }, events: ['accepted'], pool: [id] }],
    ['spent', 'waits again', retry(), ['entered', 2, 1], { record: { status: 'pending', ...cleared }, events: ['accepted'] }],
    ['failed', 'an idle server takes it', async world => {
      await world.claim({ server: 'two', idle: 'idle' })
      return await retry()(world)
    }, ['entered', 2, 1], { record: { status: 'pending', server: 'two', run: '2' }, events: ['accepted'], pool: [] }],
    ['failed', 'its key has too many waiting', retry(0), ['full', 0]],
    ['failed', 'its key has space', retry(1), ['entered', 2, 1], { record: { status: 'pending' }, events: ['accepted'] }]
  ])
})

t.test('move-job', async t => {
  type How = Parameters<typeof scripts.moveJob>[2][1]
  const move = (how: How, value: string | number = '', detail: string | number = '', needs = '') =>
    async ({ prefix }: World) => await scripts.moveJob(redis, prefix, [id, how, value, detail, needs, dial])
  /** Behind a first job of the same share and one of another. */
  const behind = (act: (world: World) => Promise<unknown>) => async (world: World) => {
    await world.create({ id: 'first', key: 'k' })
    await world.create({ id: 'stranger', key: 's' })
    await world.create()
    return await act(world)
  }
  const arrived = ['accepted', 'accepted', 'accepted']
  await check(t, [
    ['none', 'is gone', move('first'), ['gone'], { record: null }],
    ['processing', 'runs', move('first'), ['not_pending', 'processing']],
    ['completed', 'has ended', move('priority', 3, 0.5), ['not_pending', 'completed']],

    ['none', 'to the front of its share', behind(move('first')), ['moved', '2', Number],
      { record: { run: '2', list: 'k' }, events: [...arrived, 'moved'], pool: [id, 'first'], lists: { s: ['stranger'] } }],
    ['pending', 'to the front of its share, where it is', move('first'), ['there'], { pool: [id] }],
    ['claimed', 'a server has claimed it', move('first'), ['there'], { claimed: [id] }],

    ['none', 'ahead of everybody', behind(move('express')), ['moved', '2', 1],
      { record: { list: '!' }, events: [...arrived, 'moved'], pool: ['first'], lists: { '!': [id] }, fair: { k: 0, s: 0 } }],
    ['none', 'ahead of everybody, twice', behind(async world => [await move('express')(world), await move('express')(world)]),
      [['moved', '2', 1], ['there']], { record: { list: '!' }, events: [...arrived, 'moved'], lists: { '!': [id] } }],
    ['none', 'back to the front of its share', behind(async world => [await move('express')(world), await move('first')(world)]),
      [['moved', '2', 1], ['moved', '3', Number]],
      { record: { list: 'k' }, events: [...arrived, 'moved', 'moved'], pool: [id, 'first'], lists: { '!': [] } }],
    ['claimed', 'a server has claimed it already', move('express'), ['there'], { claimed: [id] }],

    ['none', 'ahead of one of its share', behind(move('before', 'first', 'own')), ['moved', '2', Number],
      { record: { list: 'k' }, events: [...arrived, 'moved'], pool: [id, 'first'] }],
    ['none', 'between two of its share', behind(async world => {
      await world.create({ id: 'last' })
      await world.create({ id: 'later' })
      await scripts.moveJob(redis, world.prefix, ['later', 'before', id, 'own', '', dial])
      return await scripts.moveJob(redis, world.prefix, ['last', 'before', 'later', 'own', '', dial])
    }), ['moved', '2', Number], {
      record: { run: '1' }, events: [...arrived, 'accepted', 'accepted', 'moved', 'moved'], pool: ['first', 'last', 'later', id]
    }],
    ['none', 'not ahead of one of another share', behind(move('before', 'stranger', 'own')), ['not_waiting'],
      { record: { list: 'k' }, events: arrived, pool: ['first', id] }],
    ['none', 'ahead of one of another share', behind(move('before', 'stranger', 'any')), ['moved', '2', Number],
      { record: { list: 's' }, events: [...arrived, 'moved'], pool: ['first'], lists: { s: [id, 'stranger'] } }],
    ['pending', 'not ahead of itself', move('before', id, 'own'), ['not_waiting'], { pool: [id] }],
    ['pending', 'not ahead of one that does not exist', move('before', 'nobody', 'any'), ['not_waiting'], { pool: [id] }],
    ['claimed', 'not ahead of a claimed one', async world => {
      await world.create({ id: 'other' })
      return await scripts.moveJob(redis, world.prefix, ['other', 'before', id, 'any', '', dial])
    }, ['not_waiting'], { events: ['accepted'], pool: ['other'], claimed: [id] }],
    ['claimed', 'stays with the server that has claimed it', async world => {
      await world.create({ id: 'other' })
      return await move('before', 'other', 'own')(world)
    }, ['there'], { events: ['accepted'], pool: ['other'], claimed: [id] }],

    ['none', 'another priority', behind(move('priority', 10, 4)), ['moved', '2', Number],
      { record: { priority: '10', weight: '4', run: '2' }, events: [...arrived, 'moved'], pool: [id, 'first'] }],
    ['none', 'another priority of one that is ahead of everybody', behind(async world => {
      await move('express')(world)
      return await move('priority', 5, 1)(world)
    }), ['moved', '3', Number], { record: { list: 'k' }, events: [...arrived, 'moved', 'moved'], lists: { '!': [] }, pool: ['first', id] }],
    ['claimed', 'another priority: it is claimed as it should be now', async world => {
      await world.create({ id: 'other' })
      return await move('priority', 1, 0.25)(world)
    }, ['moved', '2', 2], { record: { priority: '1', server: '' }, events: ['accepted', 'moved'], claimed: [], pool: ['other', id] }],

    ['pending', 'only to one server', move('target', 'two', otherClass, needsOf(otherClass)), ['moved', '2', 1],
      { record: { server: 'two', target: 'two', class: otherClass, needs: needsOf(otherClass) }, events: ['moved'], pool: [id] }],
    ['targeted', 'to any server', move('target', '', otherClass, needsOf(otherClass)), ['moved', '2', 1],
      { record: { server: '', target: '', class: otherClass }, events: ['moved'], pool: [id] }],
    ['targeted', 'to the server that it needs', move('target', 'two', ownClass, needsOf(ownClass)), ['there'], { pool: [id] }],
    ['claimed', 'to another server', move('target', 'two', otherClass, needsOf(otherClass)), ['moved', '2', 1],
      { record: { server: 'two', fixed: null, charged: null }, events: ['moved'], claimed: [], pool: [id], fair: { k: 0 } }],
    ['resting', 'to another server', move('target', 'two', otherClass, needsOf(otherClass)), ['moved', '3', 1],
      { record: { server: 'two' }, events: ['moved'], pool: [id] }],
    ['pending', 'to an idle server', async world => {
      await noteClasses(redis, world.prefix, ['two', fence, ownClass, '0'])
      await world.claim({ server: 'two', idle: 'idle' })
      return await move('target', 'two', otherClass, needsOf(otherClass))(world)
    }, ['moved', '2', 1], { record: { server: 'two', charged: '1' }, events: ['moved'], pool: [], idle: [] }],

    ['pending', 'only a new run', move('renew', 1), ['moved', '2', 1], { record: { run: '2', order: '1' }, pool: [id] }],
    ['claimed', 'only a new run', move('renew', 1), ['moved', '2', 1], { record: { run: '2', server: 'one' }, claimed: [id] }],
    ['resting', 'only a new run', move('renew', 2), ['moved', '3', 1], { record: { run: '3' }, pool: [] }],
    ['pending', 'only a new run, but another waits', move('renew', 2), ['superseded'], { pool: [id] }]
  ])
  await t.test('a job finds a place between two others, however often that was done', async t => {
    const world = await newWorld()
    for (const name of ['head', 'one', 'two']) await world.create({ id: name })
    for (let turn = 0; turn < 200; turn++) {
      const [moved, other] = turn % 2 === 0 ? ['two', 'one'] : ['one', 'two']
      await scripts.moveJob(redis, world.prefix, [moved ?? '', 'before', other ?? '', 'own', '', dial])
      const members = await redis.zrange(world.keys.key('own', 'k'), '0', '-1')
      const order = members.map(member => member.split(':').at(-1))
      if (order.join() !== (turn % 2 === 0 ? 'head,two,one' : 'head,one,two')) t.fail(`turn ${turn}: ${order.join()}`)
    }
    t.equal(Number(await redis.zcard(world.keys.key('own', 'k'))), 3)
  })
})
