import t, { type Test } from 'tap'
import { createJobList, type JobQuery } from '../../src/jobs/list.ts'
import { fillSearch, sealSearch } from '../../src/jobs/search-text.ts'
import { createJobStore } from '../../src/jobs/store.ts'
import { entriesLua } from '../../queues/generation-queue.ts'
import { createKeys, type Keys } from '../../src/lib/keys.ts'
import { removeJob } from '../../src/jobs/scripts/index.ts'
import { findIndexProblems } from '../support/consistency.ts'
import { redis, scripts } from './script-world.ts'

const dial = { patience: 3, lightPatience: 2, lightJobs: 1 }
const applications = ['forge', 'comfyui']
const users = ['', 'ann', 'bob']
const owners = ['', 'k', 'other']
const never = Number.MAX_SAFE_INTEGER
const scope = (name: string) => {
  const keys = createKeys(name)
  const prefix: [string] = [keys.key('')]
  const store = createJobStore({ redis, keys, queueEntries: entriesLua, dial })
  // Also small indexes are looked for in the search text. The other list reads records, and drops no kept results.
  const [list, ofRecords] = [createJobList(redis, keys, store, 0), createJobList(redis, keys, store)]
  return { keys, prefix, list, ofRecords, parts: { redis, keys } }
}

const going = new AbortController().signal

/** The same sequence in every run. */
function createChance (state = 7) {
  return (below: number) => {
    state = (state * 1103515245 + 12345) % 2147483648
    return Math.floor(state / 65536) % below
  }
}

const words = ['Lighthouse', 'harbour', 'STORM', 'ünïcode', '灯台', 'a-b', '100%', '"quoted"', 'x.y', '<lora:Add:1>', 'harbours']

async function create (
  { prefix }: ReturnType<typeof scope>, id: string, chance: (below: number) => number, end: 'cancelled' | 'pending' = 'cancelled'
) {
  const prompt = Array.from({ length: chance(4) }, () => words[chance(words.length)]).join([' ', ', ', '\n'][chance(3)])
  const [application = '', user = '', key = ''] = [applications[chance(2)], users[chance(3)], owners[chance(3)]]
  // Long prompts soon fill a block.
  const own = chance(2) === 0 ? `${prompt} ${id} ${'x'.repeat(2000)}` : prompt
  const submission = JSON.stringify({ appType: application, ...user === '' ? {} : { studio: { user } }, parameters: {} })
  const [answer] = await scripts.createJob(redis, prefix, [id, '', key, 5, chance(4) === 0 ? 'g' : '', submission, own, '', '', '[1]', never, '', id, 1,
    '-0', '{}', 1000, 1, user, JSON.stringify({ ...dial, longest: 64, share: 4 }), application, chance(5) === 0 ? '1' : ''])
  if (!Array.isArray(answer) || answer[0] !== 'created') throw new Error(`${id} was not created`)
  if (end === 'cancelled') await scripts.cancelJob(redis, prefix, [id])
}

const remove = async ({ prefix }: ReturnType<typeof scope>, id: string) => { await removeJob(redis, prefix, [id]) }

/** Hides the search text, so that the records are searched. */
async function bySearchingRecords<Answer> (keys: Keys, ask: () => Promise<Answer>): Promise<Answer> {
  const from = await redis.getset(keys.key('search-from'), 'hidden') ?? ''
  try {
    return await ask()
  } finally {
    if (from === '') await redis.del(keys.key('search-from'))
    else await redis.set(keys.key('search-from'), from)
  }
}

const statuses = ['cancelled', 'pending'] as const

const texts = ['', 'harbour', 'HARBOURS', 'storm, ', 'ünï', '台', '% "', 'x.y', 'job-1', 'nowhere', 'house\nharbour', '-b, 100', ' ']

async function compare (t: Test, here: ReturnType<typeof scope>, chance: (below: number) => number, what: string) {
  const { keys, list, ofRecords } = here
  t.same(await findIndexProblems({ look: redis, keys }), [], what)
  const everyId = await list.ids({})
  const arrivals = await Promise.all(everyId.map(async id => Number(await redis.hget(keys.key('job', id), 'arrival'))))
  const moment = () => Math.round((arrivals[chance(Math.max(1, arrivals.length))] ?? 0) / 1000)
  for (let round = 0; round < 12; round++) {
    const filter = {
      text: texts[chance(texts.length)] ?? '',
      ...chance(3) === 0 ? { appType: applications[chance(2)] ?? '' } : {},
      ...chance(3) === 0 ? { user: users[1 + chance(2)] ?? '' } : {},
      ...chance(3) === 0 ? { keyId: 'k' } : {},
      ...chance(3) === 0 ? { status: statuses[chance(2)] as 'cancelled' | 'pending' } : {},
      ...chance(4) === 0 ? { background: chance(2) === 0 } : {},
      ...chance(4) === 0 ? { group: 'g' } : {},
      ...chance(3) === 0 ? { since: moment() } : {},
      ...chance(3) === 0 ? { before: moment() } : {}
    }
    const query: JobQuery = {
      ...filter, order: chance(2) === 0 ? 'newest' : 'oldest', limit: 1 + chance(40), offset: chance(2) * chance(200)
    }
    const ask = async (list: typeof ofRecords) => {
      const page = await list.idPage(query)
      const { nextCursor: cursor } = page
      const next = cursor === null ? null : await list.idPage({ ...query, cursor })
      return { page, next, count: await list.count(filter), ids: await list.ids(filter) }
    }
    t.same(await ask(list), await bySearchingRecords(keys, async () => await ask(ofRecords)), `${what}: ${JSON.stringify(query)}`)
  }
}

t.test('a search finds the same in the search text as in the records', async t => {
  const chance = createChance()
  const here = scope('searched')
  const ids: string[] = []
  for (let index = 0; index < 400; index++) {
    const id = `job-${index}`
    await create(here, id, chance)
    ids.push(id)
  }
  t.ok(await redis.zcard(here.keys.key('search')) >= 3, 'there are several blocks')
  await compare(t, here, chance, 'all jobs')
  await sealSearch(here.parts, going)
  await compare(t, here, chance, 'full blocks are sealed')
  for (let index = 0; index < 130; index++) await remove(here, ids.splice(chance(ids.length), 1)[0] ?? '')
  await compare(t, here, chance, 'some were removed')
  const sizeOf = async () => {
    const names = await redis.keys(`${here.keys.key('search')}:*`)
    return (await Promise.all(names.map(async name => await redis.strlen(name)))).reduce((sum, size) => sum + size)
  }
  const size = await sizeOf()
  for (const id of ids.splice(0, 200)) await remove(here, id)
  await create(here, 'job-again', chance)
  t.ok(await sizeOf() < size / 2, 'the text of removed jobs is gone')
  await compare(t, here, chance, 'the oldest were removed')
  for (const id of ids) await remove(here, id)
  await remove(here, 'job-again')
  t.ok((await redis.keys(`${here.keys.key('search')}:*`)).length <= 1, 'only the block that is appended to is left')
  t.equal(await sizeOf(), 0)
  await create(here, 'job-last', chance)
  await compare(t, here, chance, 'one job')
})

t.test('jobs of an earlier version are entered in parts, while others come and go', async t => {
  const chance = createChance(11)
  const here = scope('filled')
  const { keys, list } = here
  const ids: string[] = []
  for (let index = 0; index < 300; index++) {
    await create(here, `job-${index}`, chance)
    ids.push(`job-${index}`)
  }
  const made = await redis.keys(`${keys.key('search')}*`)
  await redis.del(made)
  const found = await list.ids({ text: 'harbour' })
  t.ok(found.length > 30, 'the records are searched meanwhile')
  for (let pause = 0; pause < 3; pause++) {
    const stopping = new AbortController()
    const filling = fillSearch({ redis, keys }, stopping.signal)
    await create(here, `job-new-${pause}`, chance)
    await remove(here, ids.splice(chance(ids.length), 1)[0] ?? '')
    stopping.abort()
    await t.rejects(filling, { name: 'AbortError' }, 'it says that it has not ended')
    await compare(t, here, chance, 'a part is entered')
  }
  await fillSearch({ redis, keys }, going)
  t.equal(await redis.get(keys.key('search-from')), '0', 'all are')
  await compare(t, here, chance, 'all are entered')
  await sealSearch(here.parts, going)
  await compare(t, here, chance, 'and sealed')
})

t.test('jobs that an earlier version creates meanwhile are noticed', async t => {
  const chance = createChance(13)
  const here = scope('noticed')
  const { keys, list } = here
  for (let index = 0; index < 200; index++) await create(here, `job-${index}`, chance)
  t.equal(await redis.get(keys.key('search-from')), '0', 'all are in the search text from the beginning')
  const last = await redis.get(keys.key('search-last')) ?? ''
  const block = keys.key('search', last.split(':')[1] ?? '')
  const text = await redis.get(block) ?? ''
  await create(here, 'job-unseen', chance)
  await redis.set(block, text)
  await redis.set(keys.key('search-last'), last)
  await create(here, 'job-seen', chance)
  await compare(t, here, chance, 'the records are searched')
  await fillSearch({ redis, keys }, going)
  t.equal(await redis.get(keys.key('search-from')), '0')
  await compare(t, here, chance, 'after the check')
  const ids = [...await list.ids({ appType: 'forge' }), ...await list.ids({ appType: 'comfyui' })]
  t.same(ids.toSorted(), (await list.ids({})).toSorted())
})

t.test('kept results follow every change of a job', async t => {
  const chance = createChance(17)
  const here = scope('kept')
  const { keys, list, ofRecords, prefix } = here
  for (let index = 0; index < 200; index++) await create(here, `job-${index}`, chance, statuses[chance(2)])
  const filters = [
    { text: 'harbour' }, { text: 'harbour', status: 'pending' }, { text: 'harbour', status: 'cancelled', keyId: 'k' },
    { text: 'storm', background: true }, { text: 'storm', background: false }, { text: '', appType: 'forge', group: 'g' }
  ] as const
  const dialled = JSON.stringify({ ...dial, longest: 64, share: 4 })
  const changes: ReadonlyArray<(id: string) => Promise<unknown>> = [
    async id => await scripts.cancelJob(redis, prefix, [id]),
    async id => await scripts.retryJob(redis, prefix, [id, '', '-0', '{}', dialled]),
    async id => await scripts.moveJob(redis, prefix, [id, 'lane', chance(2) === 0 ? '1' : '', '', '', dialled]),
    async id => await scripts.editJob(redis, prefix, [id, Number(await redis.hget(keys.key('job', id), 'run')), '',
      '{"appType":"forge","parameters":{}}', words[chance(words.length)] ?? '', '[1]', '-0', '{}', 1000, 'forge', '', dialled]),
    async id => { await remove(here, id) },
    async () => { await create(here, `more-${chance(1_000_000)}`, chance, 'pending') }
  ]
  for (let round = 0; round < 60; round++) {
    // A job that the filters find, so that each change shows.
    const status = [1, 4].includes(round % changes.length) ? 'cancelled' : 'pending'
    const found = await bySearchingRecords(keys, async () => await ofRecords.ids({ text: 'harbour', status }))
    await changes[round % changes.length]?.(found[chance(found.length)] ?? '')
    for (const filter of filters) {
      const ask = async (list: typeof ofRecords) => [await list.count(filter), await list.ids(filter)]
      t.same(await ask(list), await bySearchingRecords(keys, async () => await ask(ofRecords)), `change ${round % changes.length}: ${JSON.stringify(filter)}`)
    }
  }
  t.ok(Number(await redis.get(keys.key('search-changes'))) > 200)
  t.ok(await redis.zcard(keys.key('search-changed')) <= await redis.zcard(keys.key('search')), 'only blocks that exist are noted')
})

t.test('pages of jobs that are not in the background begin at any offset and behind any cursor', async t => {
  const chance = createChance(19)
  const here = scope('outside')
  const { keys, list } = here
  for (let index = 0; index < 150; index++) await create(here, `job-${index}`, chance, statuses[chance(2)])
  const everyId = await list.ids({})
  const arrivals = await Promise.all(everyId.map(async id => Number(await redis.hget(keys.key('job', id), 'arrival'))))
  const moment = () => Math.round((arrivals[chance(arrivals.length)] ?? 0) / 1000)
  for (let round = 0; round < 60; round++) {
    const filter = {
      background: false,
      ...chance(3) === 0 ? { keyId: 'k' } : {},
      ...chance(3) === 0 ? { status: 'cancelled' } as const : {},
      ...chance(3) === 0 ? { group: 'g' } : {},
      ...chance(3) === 0 ? { since: moment() } : {},
      ...chance(3) === 0 ? { before: moment() } : {}
    }
    const [order, limit, offset] = [chance(2) === 0 ? 'newest' : 'oldest', 1 + chance(20), chance(120)] as const
    const found = await list.ids(filter)
    const sorted = order === 'newest' ? found.toReversed() : found
    const page = await list.idPage({ ...filter, order, limit, offset })
    const named = `${JSON.stringify(filter)} ${order} ${offset}`
    t.strictSame([page.ids, page.total], [sorted.slice(offset, offset + limit), sorted.length], named)
    t.equal(page.nextCursor !== null, offset + limit < sorted.length, `${named}: the cursor`)
    if (page.nextCursor === null) continue
    const next = await list.idPage({ ...filter, order, limit, offset: 0, cursor: page.nextCursor })
    t.strictSame([next.ids, next.total], [sorted.slice(offset + limit, offset + 2 * limit), sorted.length], `${named}: the next page`)
  }
})

t.test('equal prompts take the space of one, and any text can be a prompt', async t => {
  const here = scope('equal')
  const { keys, prefix, list } = here
  const one = async (id: string, prompt: string) => {
    await scripts.createJob(redis, prefix, [id, '', '', 5, '', '{"appType":"forge","parameters":{}}', prompt, '', '', '[1]', never,
      '', id, 1, '-0', '{}', 1000, 1, '', JSON.stringify({ ...dial, longest: 64, share: 4 }), 'forge', ''])
  }
  const ids = Array.from({ length: 100 }, (_, index) => `same-${index}`)
  for (const id of ids) await one(id, 'Lighthouse '.repeat(200))
  const sizeOf = async () => await redis.strlen(keys.key('search', (await redis.zrange(keys.key('search'), '0', '-1'))[0] ?? ''))
  t.ok(await sizeOf() < 5000, 'while they follow each other')
  for (let index = 0; index < 80; index++) await one(`other-${index}`, (index % 2 === 0 ? 'storm ' : 'wind ').repeat(400))
  t.ok(await sizeOf() > 100_000)
  await sealSearch(here.parts, going)
  t.ok(await sizeOf() < 15_000, 'or once the block is sealed')
  t.equal(await list.count({ text: 'wind wind' }), 40)
  await one('odd', 'a\0b\x01c\x02,same-1,\x03d ,odd, forge')
  t.same(await list.ids({ text: ',same-1,' }), ['odd'], 'ids are no prompts')
  t.same(await list.ids({ text: 'same-5' }), [])
  t.same(await list.ids({ text: 'other-1' }), [])
  t.same(await list.ids({ text: 'forge' }), ['odd'])
  t.same(await list.ids({ text: 'c\x02,same' }), ['odd'])
  t.equal(await list.count({ text: 'lighthouse' }), 100)
  for (const id of ['odd', 'same-1']) {
    await scripts.cancelJob(redis, prefix, [id])
    await remove(here, id)
  }
  t.same(await list.ids({ text: ',odd,' }), [])
  t.equal(await list.count({ text: 'lighthouse' }), 99)
  t.same((await findIndexProblems({ look: redis, keys })).filter(problem => /search|block/.test(problem)), [])
})
