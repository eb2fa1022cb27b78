import type { Redis } from 'ioredis'
import type { Keys } from '../../src/lib/keys.ts'

/** Where the pool is kept. */
export interface Pool {
  readonly look: Redis
  readonly keys: Keys
}

type Fields = Readonly<Record<string, string>>

/** Where each waiting job is: in a list of the pool, at rest, or claimed by a server. */
interface Places {
  readonly records: ReadonlyMap<string, Fields>
  readonly resting: ReadonlySet<string>
  /** Servers of claimed jobs. */
  readonly claimed: ReadonlyMap<string, string>
}

const [express, lane] = ['!', '~']

/** Every key that begins like this, without that beginning. */
async function namesBehind ({ look, keys }: Pool, ...parts: string[]): Promise<string[]> {
  const beginning = keys.key(...parts, '')
  const names: string[] = []
  for await (const page of look.scanStream({ match: `${beginning}*`, count: 1000 })) names.push(...page as string[])
  return [...new Set(names)].map(name => name.slice(beginning.length))
}

async function findPlaces (pool: Pool): Promise<Places> {
  const { look, keys } = pool
  const ids = (await namesBehind(pool, 'job')).filter(id => !id.includes(':'))
  const servers = await namesBehind(pool, 'line')
  const [records, lines, resting] = await Promise.all([
    Promise.all(ids.map(async (id): Promise<[string, Fields]> => [id, await look.hgetall(keys.key('job', id))])),
    Promise.all(servers.map(async server => await look.zrange(keys.key('line', server), '0', '-1'))),
    look.zrange(keys.key('resting'), '0', '-1')
  ])
  const claimed = lines.flatMap((line, at) => line.map((id): [string, string] => [id, servers[at] ?? '']))
  return { records: new Map(records), claimed: new Map(claimed), resting: new Set(resting) }
}

const memberOf = (id: string, fields: Fields) => `${fields.class}:${fields.ms}:${fields.weight}:${id}`

/** What is wrong with the pool, at any moment: records, lists, classes, tags and claims must agree. */
export async function findPoolProblems (pool: Pool): Promise<string[]> {
  const { look, keys } = pool
  const places = await findPlaces(pool)
  const { records, resting, claimed } = places
  const problems: string[] = []
  const lists = new Map<string, Map<string, string>>()
  const classes = new Map<string, { count: number, ms: number, needs: string }>()
  const enter = (name: string, member: string, order: string) => {
    lists.set(name, (lists.get(name) ?? new Map<string, string>()).set(member, order))
  }
  for (const [id, fields] of records) {
    const server = claimed.get(id)
    if (fields.share !== undefined && fields.share.startsWith(lane) !== (fields.background === '1')) {
      problems.push(`${id} is charged to ${fields.share}, and its background is ${fields.background ?? 'unset'}`)
    }
    if (fields.status !== 'pending') {
      if (server !== undefined) problems.push(`${id} is ${fields.status}, and ${server} has claimed it`)
      if (resting.has(id)) problems.push(`${id} is ${fields.status}, and rests`)
      if (fields.status !== 'processing' && fields.charged !== undefined) problems.push(`${id} is still charged`)
      continue
    }
    if (server !== undefined) {
      if (fields.server !== server) problems.push(`${id} is claimed by ${server}, and its record names ${fields.server}`)
      if (resting.has(id)) problems.push(`${id} is claimed, and rests`)
      if (fields.charged === undefined) problems.push(`${id} is claimed, and its share was not charged`)
      continue
    }
    if (fields.server !== fields.target) problems.push(`${id} waits for ${fields.target}, and its record names ${fields.server}`)
    if (fields.charged !== undefined) problems.push(`${id} is not claimed, and its share was charged`)
    if (resting.has(id)) continue
    const { list = '', class: name = '', ms, needs = '', order = '' } = fields
    enter(list, memberOf(id, fields), order)
    enter(`${list}:${name}`, memberOf(id, fields), order)
    const known = classes.get(name) ?? { count: 0, ms: 0, needs }
    classes.set(name, { count: known.count + 1, ms: known.ms + Number(ms), needs })
  }
  await Promise.all([...new Set([...lists.keys(), ...await namesBehind(pool, 'own')])].map(async name => {
    const found = await look.zrange(keys.key('own', name), '0', '-1', 'WITHSCORES')
    const expected = [...lists.get(name) ?? []].flatMap(([member, order]) => [member, String(Number(order))])
    const pairs = (list: readonly string[]) => list.flatMap((member, at) => at % 2 === 0 ? [`${member} ${Number(list[at + 1])}`] : [])
    problems.push(...differences(`the list ${name}`, pairs(expected), pairs(found)))
  }))
  const shares = [...lists.keys()].filter(name => [...lists.keys()].some(other => other.startsWith(`${name}:`)) && name !== express)
  const tagged = await Promise.all(['fair', `fair${lane}`].map(async name => await look.zrange(keys.key(name), '0', '-1')))
  const [outside = [], inLane = []] = tagged
  problems.push(
    ...differences('fair', shares.filter(name => !name.startsWith(lane)), outside),
    ...differences('fair of the lane', shares.filter(name => name.startsWith(lane)), inLane)
  )
  const fair = [...outside, ...inLane]
  const finish = await look.hkeys(keys.key('finish'))
  problems.push(...finish.filter(name => fair.includes(name)).map(name => `finish has ${name}, which waits`))
  const [needs, counts, ms] = await Promise.all(['classes', 'class-counts', 'class-ms'].map(async name =>
    Object.entries(await look.hgetall(keys.key(name))).map(([field, value]) => `${field} ${value}`)))
  problems.push(
    ...differences('classes', [...classes].map(([name, one]) => `${name} ${one.needs}`), needs ?? []),
    ...differences('class-counts', [...classes].map(([name, one]) => `${name} ${one.count}`), counts ?? []),
    ...differences('class-ms', [...classes].map(([name, one]) => `${name} ${one.ms}`), ms ?? []),
    ...differences('claimed', [...claimed.keys()], await look.zrange(keys.key('claimed'), '0', '-1'))
  )
  const servers = [...claimed.values()]
  problems.push(...servers.filter((server, at) => servers.indexOf(server) !== at).map(server => `${server} has claimed two jobs`))
  for (const id of await look.hkeys(keys.key('skips'))) {
    if (records.get(id)?.status !== 'pending' || claimed.has(id)) problems.push(`skips has ${id}, which no longer waits`)
  }
  for (const id of [...resting, ...claimed.keys()]) if (!records.has(id)) problems.push(`${id} waits and has no record`)
  return problems
}

/** What is wrong with the entries of BullMQ, as long as no worker takes any: exactly one for each waiting job. */
export async function findEntryProblems (pool: Pool): Promise<string[]> {
  const { look, keys } = pool
  const { records, claimed } = await findPlaces(pool)
  const expected = new Map<string, string[]>()
  for (const [id, { status, run = '' }] of records) {
    if (status !== 'pending') continue
    const server = claimed.get(id)
    const queue = server === undefined ? 'waiting' : `generation-${server}`
    expected.set(queue, [...expected.get(queue) ?? [], `${id}_${run}`])
  }
  const problems: string[] = []
  const queues = (await namesBehind(pool, 'bull')).map(name => name.split(':')[0] ?? '')
  for (const queue of new Set([...expected.keys(), ...queues])) {
    if (queue !== 'waiting' && !queue.startsWith('generation-')) continue
    const found = await look.zrange(keys.key('bull', queue, 'prioritized'), '0', '-1')
    problems.push(...differences(`the queue ${queue}`, expected.get(queue) ?? [], found))
  }
  return problems
}

function differences (what: string, expected: readonly string[], found: readonly string[]): string[] {
  return [
    ...expected.filter(one => !found.includes(one)).map(one => `${what} lacks ${one}`),
    ...found.filter(one => !expected.includes(one)).map(one => `${what} has ${one}, which does not belong there`)
  ]
}
