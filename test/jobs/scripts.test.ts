import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  countImages, endJob, forgetOutput, matchImages, matchText, noteProgress, readStamps, removeJob
} from '../../src/jobs/scripts/index.ts'
import { packResult } from '../../src/jobs/job.ts'
import { inRepository } from '../root.ts'
import { check, failure, id, listener, newWorld, owner, redis, result, states, type World } from './script-world.ts'

/** Each script that changes or reads a record and leaves the pool alone. */

t.test('start-job', async t => {
  type Given = Parameters<World['start']>[0]
  const start = (given: Given = {}) => async (world: World) => await world.start(given)
  const closed = (key: string, field: string, value: unknown) => async (world: World) => {
    await redis.hset(world.keys.key(key), field, JSON.stringify(value))
    return await world.start()
  }
  await check(t, [
    ['none', 'is gone', start(), ['gone'], { record: null }],
    ['claimed', 'starts', start(), ['started'], {
      record: { status: 'processing', server: 'one', owner, starts: '1', sends: '1', started: /^\d+$/ },
      events: ['started'],
      webhook: ['job.started'],
      claimed: []
    }],
    ['claimed', 'another run', start({ run: 2 }), ['superseded']],
    ['claimed', 'another server', start({ server: 'two' }), ['superseded']],
    ['claimed', 'an earlier lease', start({ fence: 6 }), ['lease_lost']],
    ['claimed', 'the queue is off', closed('runtime-settings', 'queueProcessing', false), ['closed']],
    ['claimed', 'the server is paused', closed('servers', 'one', { enabled: true, paused: true }), ['closed']],
    ['claimed', 'the server drains', closed('servers', 'one', { enabled: true, draining: true }), ['closed']],
    ['claimed', 'the server is off', closed('servers', 'one', { enabled: false }), ['closed']],
    ['claimed', 'another server is paused', closed('servers', 'two', { enabled: true, paused: true }), ['started'],
      { record: { status: 'processing' }, events: ['started'], webhook: ['job.started'], claimed: [] }],
    ['processing', 'the same claim again after a pause', closed('servers', 'one', { enabled: true, paused: true }), ['started']],
    ['pending', 'no server has claimed it', start(), ['superseded']],
    ['targeted', 'the server that it needs has not claimed it', start({ server: 'two' }), ['superseded']],
    ['processing', 'the same claim again', start(), ['started']],
    ['processing', 'another owner', start({ owner: 'other' }), ['superseded']],
    ['returned', 'the former run', start(), ['superseded']],
    ['returned', 'the new run, which no server has claimed', start({ run: 2 }), ['superseded']],
    ['returned', 'the new run', async world => [(await world.claim())[0], await start({ run: 2 })(world)], ['claimed', ['started']],
      { record: { status: 'processing', starts: '2', sends: '2' }, events: ['started'], webhook: ['job.started'] }],
    ['resting', 'the new run', start({ run: 2 }), ['superseded']],
    ['completed', 'the same claim again', start(), ['superseded']],
    ['cancelled', 'is cancelled', start(), ['superseded']]
  ])
})

t.test('only the functions of record.lua change a record, so that its counter rises', t => {
  const beginning = inRepository('src/jobs/scripts')
  const files = readdirSync(beginning, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.lua'))
  t.ok(files.length > 30)
  for (const file of files.filter(name => name !== join('includes', 'record.lua'))) {
    const calls = readFileSync(join(beginning, file), 'utf8').match(/redis\.call\('[A-Z]+', jobKey\(\w+(\.\w+)?\)/g) ?? []
    t.same(calls.filter(call => !/'(HGET|HMGET|HGETALL|HEXISTS|EXISTS|DEL)'/.test(call)), [], file)
  }
  t.end()
})

t.test('a job whose id is used again has another stamp', async t => {
  const world = await newWorld()
  await states.cancelled(world)
  const [, , before] = await readStamps(redis, world.prefix, [id])
  await removeJob(redis, world.prefix, [id])
  t.same(await readStamps(redis, world.prefix, [id]), ['', '', '..'])
  await states.cancelled(world)
  const [, , after] = await readStamps(redis, world.prefix, [id])
  t.not(before?.split('.')[0], after?.split('.')[0])
})

t.test('note-progress', async t => {
  const note = (progress: string, given: Partial<{ run: number, owner: string }> = {}) => async ({ prefix }: World) =>
    await noteProgress(redis, prefix, [id, given.run ?? 1, given.owner ?? owner, progress])
  const half = '{"fraction":0.5}'
  await check(t, [
    ['none', 'is gone', note(half), ['superseded'], { record: null }],
    ['pending', 'does not run', note(half), ['superseded']],
    ['processing', 'keeps it', note(half), ['noted'], { record: { progress: half, toldFraction: '0.5' }, webhook: ['job.progress'] }],
    ['processing', 'too little for the webhook', note('{"fraction":0.04}'), ['noted'],
      { record: { progress: '{"fraction":0.04}', toldFraction: null } }],
    ['processing', 'too soon for the webhook', async world => [await note(half)(world), await note('{"fraction":0.9}')(world)],
      [['noted'], ['noted']], { record: { progress: '{"fraction":0.9}', toldFraction: '0.5' }, webhook: ['job.progress'] }],
    ['processing', 'no news', note(''), ['noted']],
    ['processing', 'another owner', note(half, { owner: 'other' }), ['superseded']],
    ['processing', 'another run', note(half, { run: 2 }), ['superseded']],
    ['cancelling', 'is to stop', note(''), ['cancel']],
    ['cancelling', 'is to stop, with news', note(half), ['cancel'], { record: { progress: half }, webhook: ['job.progress'] }],
    ['completed', 'has ended', note(half), ['superseded']]
  ])
  const here = await newWorld()
  await states.processing(here)
  await listener.subscribe(here.keys.channel('jobs'))
  const heard = new Promise(resolve => { listener.once('message', (_channel, text) => { resolve(JSON.parse(text)) }) })
  await note(half)(here)
  t.match(await heard, { kind: 'progress', job: id, server: 'one', key: 'k', status: 'processing', data: { fraction: 0.5 }, moment: Number })
})

t.test('end-job', async t => {
  const end = (status: 'completed' | 'failed' | 'cancelled', given: Partial<{ run: number, owner: string }> = {}) =>
    async ({ prefix }: World) => await endJob(redis, prefix, status === 'completed'
      ? [id, given.run ?? 1, given.owner ?? owner, status, result, '', '', 'a.png', 'b.png']
      : [id, given.run ?? 1, given.owner ?? owner, status, '', status === 'failed' ? failure : '', '[{}]'])
  await check(t, [
    ['none', 'is gone', end('completed'), ['superseded'], { record: null }],
    ['pending', 'does not run', end('completed'), ['superseded']],
    ['processing', 'completes', end('completed'), ['ended', 'completed'], {
      record: { status: 'completed', result, ended: /^\d+$/, progress: null, charged: null, claimed: null, error: null },
      outputs: ['a.png', 'b.png'],
      events: ['image', 'image', 'completed'],
      webhook: ['job.completed']
    }],
    ['processing', 'fails', end('failed'), ['ended', 'failed'],
      { record: { status: 'failed', error: failure, attempts: '[{}]', result: null }, events: ['failed'], webhook: ['job.failed'] }],
    ['processing', 'is cancelled', end('cancelled'), ['ended', 'cancelled'],
      { record: { status: 'cancelled', error: null }, events: ['cancelled'], webhook: ['job.cancelled'] }],
    ['processing', 'another owner', end('completed', { owner: 'other' }), ['superseded']],
    ['processing', 'another run', end('completed', { run: 2 }), ['superseded']],
    ['cancelling', 'completes, but was to be cancelled', end('completed'), ['ended', 'cancelled'], {
      record: { status: 'cancelled', result },
      outputs: ['a.png', 'b.png'],
      events: ['image', 'image', 'cancelled'],
      webhook: ['job.cancelled']
    }],
    ['cancelling', 'fails, but was to be cancelled', end('failed'), ['ended', 'cancelled'],
      { record: { status: 'cancelled', error: null }, events: ['cancelled'], webhook: ['job.cancelled'] }],
    ['completed', 'the same claim again', end('completed'), ['ended', 'completed']],
    ['failed', 'another end of the same claim', end('completed'), ['ended', 'failed']],
    ['completed', 'another owner', end('completed', { owner: 'other' }), ['superseded']],
    ['returned', 'the former run', end('completed'), ['superseded']],
    ['returned', 'the new run, which has not started', end('completed', { run: 2 }), ['superseded']]
  ])
  await t.test('the share pays for the seconds that the generation took', async t => {
    const here = await newWorld()
    await states.processing(here)
    const hour = 3_600_000
    await redis.hset(here.keys.key('job', id), 'started', Date.now() - hour)
    t.equal(Number(await redis.hget(here.keys.key('finish'), 'k')), 1, 'first for the predicted ones')
    await here.end('completed')
    const paid = Number(await redis.hget(here.keys.key('finish'), 'k'))
    t.ok(paid >= hour / 1000 && paid < hour / 1000 + 600, String(paid))
  })
})

t.test('remove-job', async t => {
  const remove = async ({ prefix }: World) => await removeJob(redis, prefix, [id, 'a.png', 'b.png'])
  await check(t, [
    ['none', 'is gone', remove, ['gone'], { record: null }],
    ['pending', 'waits', remove, ['active', 'pending']],
    ['processing', 'runs', remove, ['active', 'processing']],
    ['cancelling', 'runs', remove, ['active', 'processing']],
    ['completed', 'goes with its outputs', remove, ['removed'], { record: null, events: ['removed'], outputs: [] }],
    ['failed', 'goes', remove, ['removed'], { record: null, events: ['removed'] }],
    ['cancelled', 'goes', remove, ['removed'], { record: null, events: ['removed'] }]
  ])
})

t.test('forget-output', async t => {
  const less = JSON.stringify({ images: [{ name: 'b.png', sha256: '2' }] })
  const forget = (before: string) => async ({ prefix }: World) => await forgetOutput(redis, prefix, [id, before, less, 'a.png'])
  await check(t, [
    ['none', 'is gone', forget(result), ['gone'], { record: null }],
    ['completed', 'goes', forget(result), ['forgotten'], { record: { result: less }, events: ['image-removed'], outputs: ['b.png'] }],
    ['completed', 'the result is another by now', forget(less), ['changed'], { outputs: ['a.png', 'b.png'] }]
  ])
})

t.test('the scripts that read', async t => {
  const text = (...args: [text: string, application: string, user: string]) => async ({ prefix }: World) =>
    await matchText(redis, prefix, [...args, id, 'other'])
  const images = (...args: [text: string, model: string]) => async ({ prefix }: World) =>
    await matchImages(redis, prefix, [...args, id, 'other'])
  await check(t, [
    ['pending', 'match-text: prompt', text('lighthouse', '', ''), [id]],
    ['pending', 'match-text: another prompt', text('castle', '', ''), []],
    ['pending', 'match-text: application and user', text('', 'bot', 'ann'), [id]],
    ['pending', 'match-text: another application', text('', 'web', ''), []],
    ['pending', 'match-text: another user', text('', '', 'bob'), []],
    ['pending', 'match-images: no images yet', images('', ''), []],
    ['completed', 'match-images: prompt', images('lighthouse', ''), [id]],
    ['completed', 'match-images: another prompt', images('castle', ''), []],
    ['completed', 'match-images: checkpoint', images('', 'deliberate'), [id]],
    ['completed', 'match-images: LoRA', images('', 'storm'), [id]],
    ['completed', 'match-images: another model', images('', 'anything'), []],
    ['completed', 'count-images', async ({ prefix }) => await countImages(redis, prefix, [id, 'other']), 2],
    ['completed', 'match-images and count-images: a packed result', async ({ prefix, keys }) => {
      const { text } = packResult({ images: [], info: { sd_model_name: 'Deliberate; v2' }, partial: false, warnings: [] }, { parameters: {} })
      const ask = async (result: string, model: string) => {
        await redis.hset(keys.key('job', id), 'result', result)
        return [await matchImages(redis, prefix, ['', model, id]), await countImages(redis, prefix, [id])]
      }
      return [await ask(text, ''), await ask(text.replace('z1;0;', 'z1;3;'), '; v'), await ask(text.replace('z1;0;', 'z1;3;'), 'v3'), await ask(result, '')]
    }, [[[], 0], [[id], 3], [[], 3], [[id], 2]]],
    ['pending', 'count-images: none yet', async ({ prefix }) => await countImages(redis, prefix, [id]), 0]
  ])
})
