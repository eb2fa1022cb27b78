import t from 'tap'
import { type Bucket, createFailedLogins, createRateLimiter, rateLimitHeaders } from '../../src/access/rate-limit.ts'
import { openRedis } from './door.ts'

const connections = await openRedis()
t.after(async () => await connections.close())
const { redis, keySpace } = connections

const start = Date.parse('2026-11-21T09:00:00Z')

function openLimiter () {
  const clock = { moment: start }
  const limiter = createRateLimiter({ redis, keys: keySpace(), now: () => clock.moment })
  /** How many of this many simultaneous requests are allowed. */
  const burst = async (requests: number, rate = 60, bucket: Bucket = 'requests') => {
    const answers = await Promise.all(Array.from({ length: requests }, async () => await limiter.take('key', bucket, rate)))
    return answers.filter(({ allowed }) => allowed).length
  }
  return { clock, limiter, burst }
}

t.test('sixty requests pass, then one a second', async t => {
  const { clock, burst } = openLimiter()
  t.equal(await burst(200), 60)
  clock.moment += 999
  t.equal(await burst(1), 0)
  clock.moment += 1
  t.equal(await burst(5), 1)
  clock.moment += 10_000
  t.equal(await burst(50), 10)
  clock.moment += 600_000
  t.equal(await burst(200), 60, 'rest saves up a minute and no more')
})

t.test('no window of a minute allows more than the burst and the refill', async t => {
  const { clock, burst } = openLimiter()
  const passed: Array<{ moment: number, count: number }> = []
  for (let step = 0; step < 240; step++) {
    passed.push({ moment: clock.moment, count: await burst(3) })
    clock.moment += 500
  }
  for (const { moment: timestamp } of passed) {
    const inWindow = passed.filter(other => other.moment >= timestamp && other.moment < timestamp + 60_000)
    const sum = inWindow.reduce((total, { count }) => total + count, 0)
    if (sum > 120) t.fail(`${sum} requests within a minute`)
  }
  t.equal(passed.reduce((total, { count }) => total + count, 0), 60 + 119, 'and none is lost')
})

t.test('headers state the exact counts', async t => {
  const { clock, limiter } = openLimiter()
  const expect = (limit: number, remaining: number, reset: number, retryAfter?: number) => ({
    'RateLimit-Policy': `"requests";q=${limit};w=60`,
    RateLimit: `"requests";r=${remaining};t=${reset}`,
    'RateLimit-Limit': `${limit}`,
    'RateLimit-Remaining': `${remaining}`,
    'RateLimit-Reset': `${reset}`,
    'X-RateLimit-Limit': `${limit}`,
    'X-RateLimit-Remaining': `${remaining}`,
    'X-RateLimit-Reset': `${reset}`,
    ...(retryAfter === undefined ? {} : { 'Retry-After': `${retryAfter}` })
  })
  const take = async () => rateLimitHeaders(await limiter.take('key', 'requests', 3))
  t.strictSame(await take(), expect(3, 2, 20))
  t.strictSame(await take(), expect(3, 1, 40))
  t.strictSame(await take(), expect(3, 0, 60))
  t.strictSame(await take(), expect(3, 0, 60, 20))
  clock.moment += 15_000
  t.strictSame(await take(), expect(3, 0, 45, 5))
  clock.moment += 5_000
  t.strictSame(await take(), expect(3, 0, 60))
})

t.test('every rate refills exactly its number per minute', async t => {
  for (const rate of [1, 7, 60, 61, 1000]) {
    const { clock, burst } = openLimiter()
    t.equal(await burst(rate + 1, rate), rate)
    clock.moment += 60_000
    t.equal(await burst(rate + 1, rate), rate)
  }
})

t.test('reading jobs uses nothing of the limit for submissions', async t => {
  const { burst } = openLimiter()
  t.equal(await burst(700, 60, 'status'), 600)
  t.equal(await burst(61, 60, 'requests'), 60)
})

t.test('a clock that is set back neither gives nor takes requests', async t => {
  const { clock, burst } = openLimiter()
  t.equal(await burst(60), 60)
  clock.moment -= 30_000
  t.equal(await burst(5), 0)
  clock.moment += 31_000
  t.equal(await burst(5), 1)
})

t.test('a clock that is set back by an hour blocks no key', async t => {
  const { clock, burst } = openLimiter()
  t.equal(await burst(60), 60)
  clock.moment -= 3_600_000
  t.equal(await burst(5), 0)
  clock.moment += 2000
  t.equal(await burst(5), 2)
  clock.moment += 7_200_000
  t.equal(await burst(200), 60, 'nor does one that goes on by an hour give more than a minute')
})

t.test('by Redis\' clock the limit is the same', async t => {
  const limiter = createRateLimiter({ redis, keys: keySpace() })
  t.match(await limiter.take('key', 'requests', 2), { allowed: true, remaining: 1, resetSeconds: 30 })
  t.match(await limiter.take('key', 'requests', 2), { allowed: true, remaining: 0, resetSeconds: 60 })
  t.match(await limiter.take('key', 'requests', 2), { allowed: false, retryAfterSeconds: 30 })
})

t.test('a clock that is set back by an hour rejects no address for longer', async t => {
  const clock = { moment: start }
  const failedLogins = createFailedLogins({ redis, keys: keySpace(), now: () => clock.moment })
  const fail = async () => await failedLogins.note('192.168.1.5')
  for (let time = 0; time < 10; time++) await fail()
  t.equal(await fail(), 60)
  clock.moment -= 3_600_000
  t.equal(await fail(), 60)
  clock.moment += 59_000
  t.equal(await fail(), 1)
  clock.moment += 1000
  t.equal(await fail(), 0)
})

t.test('wrong logins make their address wait, longer each time, and no other address', async t => {
  const clock = { moment: start }
  const failedLogins = createFailedLogins({ redis, keys: keySpace(), now: () => clock.moment })
  const failTimes = async (times: number, address = '192.168.1.5') => {
    let wait = 0
    for (let time = 0; time < times; time++) wait = await failedLogins.note(address)
    return wait
  }
  t.equal(await failTimes(10), 0, 'ten are free')
  t.equal(await failTimes(1), 60)
  clock.moment += 20_000
  t.equal(await failTimes(100), 40, 'trying on does not lengthen it')
  t.equal(await failTimes(1, '192.168.1.6'), 0)
  for (const expected of [120, 240, 480, 900, 900]) {
    clock.moment += 900_000
    t.equal(await failTimes(11), expected)
  }
  t.equal(await failTimes(6, '2001:db8::1') + await failTimes(4, '2001:db8::2'), 0)
  t.equal(await failTimes(1, '2001:db8::3'), 60, 'an IPv6 network is one address')
})

t.test('wrong logins with long pauses never add up', async t => {
  const clock = { moment: start }
  const failedLogins = createFailedLogins({ redis, keys: keySpace(), now: () => clock.moment })
  for (let time = 0; time < 40; time++) {
    t.equal(await failedLogins.note('192.168.1.5'), 0)
    clock.moment += 31_000
  }
})

t.end()
