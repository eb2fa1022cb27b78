import t from 'tap'
import { Webhook } from 'standardwebhooks'
import { meaningOf, shownBodyOf } from '../../src/webhooks/deliver.ts'
import { createEndpoints } from '../../src/webhooks/endpoints.ts'
import { eventId } from '../../src/webhooks/outbox.ts'
import { createImageUrls } from '../../src/webhooks/event-body.ts'
import { eventLifetime, nextDelay, parseSchedule, retryAfter } from '../../src/lib/retry-schedule.ts'
import { isSoundSigningKey, publishedSecret, signature, signatures } from '../../src/webhooks/signing-keys.ts'
import { newMasterKey, openRedis } from '../access/door.ts'

const connections = await openRedis()
t.after(async () => await connections.close())

t.test('signatures equal those of the reference libraries', async t => {
  const fixed = [
    {
      key: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', timestamp: 1614265330, body: '{"test": 2432232314}', expected: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    },
    {
      key: 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD', id: 'msg_27UH4WbU6Z5A5EzD8u03UvzRbpk', timestamp: 1649367553, body: '{"email":"test@example.com","username":"test_user"}', expected: 'v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw='
    }
  ]
  for (const { key, expected, body, ...head } of fixed) t.equal(signature(head, Buffer.from(body), key), expected)

  const body = Buffer.from(JSON.stringify({ prompt: 'naïve – 猫 🐈 "quoted" back\\slash' }))
  const head = { id: 'evt_0193f9d27c1a7b3e9c552f0a6c1d4e11', timestamp: Math.floor(Date.now() / 1000) }
  const published = {
    'my webhook key': 'whsec_bXkgd2ViaG9vayBrZXk=',
    'clé-猫-🔑': 'whsec_Y2zDqS3njKst8J+UkQ==',
    abcdABCD: 'whsec_YWJjZEFCQ0Q=',
    x: 'whsec_eA==',
    whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    [`whsec_${Buffer.alloc(32, 7).toString('base64')}`]: 'whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=',
    [`whsec_${Buffer.from([...Array(64).keys()]).toString('base64')}`]:
      'whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=='
  }
  const all = signatures(head, body, Object.keys(published))
  for (const [key, secret] of Object.entries(published)) {
    t.equal(publishedSecret(key), secret)
    const headers = { 'webhook-id': head.id, 'webhook-timestamp': String(head.timestamp) }
    t.ok(new Webhook(secret).verify(body, { ...headers, 'webhook-signature': signature(head, body, key) }), key)
    t.ok(new Webhook(secret).verify(body, { ...headers, 'webhook-signature': all }), `${key} among others`)
  }
  t.ok(isSoundSigningKey(`whsec_${Buffer.alloc(24).toString('base64')}`))
  for (const wrong of ['whsec_', 'whsec_c2hvcnQ=', `whsec_${Buffer.alloc(65).toString('base64')}`, 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS-']) {
    t.notOk(isSoundSigningKey(wrong), wrong)
  }
})

t.test('an event has one id, whichever process makes it', async t => {
  t.match(eventId('a', 'job.completed', 1), /^evt_[a-z2-7]{26}$/)
  t.equal(eventId('a', 'job.completed', 1), eventId('a', 'job.completed', 1))
  t.equal(new Set([
    eventId('a', 'job.completed', 1), eventId('a', 'job.failed', 1), eventId('a', 'job.completed', 2), eventId('b', 'job.completed', 1)
  ]).size, 4)
})

t.test('attempts spread over 27.5 hours, and wait longer if the receiver asks for it', async t => {
  const schedule = parseSchedule('5s,30s,5m,30m,2h,5h,10h,10h')
  const waits = [1, 2, 3, 4, 5, 6, 7, 8].map(failures => nextDelay(schedule, failures, 0, () => 0.5) ?? 0)
  t.equal(waits.reduce((sum, wait) => sum + wait, 0), 99_335_000)
  t.equal(nextDelay(schedule, 9, 0, () => 0.5), null)
  t.equal(nextDelay(schedule, 1, 0, () => 0), 4000)
  t.equal(nextDelay(schedule, 1, 0, () => 1), 6000)
  t.equal(nextDelay(schedule, 1, 60_000, () => 0), 60_000)
  t.equal(eventLifetime(schedule), 72 * 3_600_000)
  t.equal(retryAfter('120', 0), 120_000)
  t.equal(retryAfter('Thu, 01 Jan 1970 00:01:00 GMT', 0), 60_000)
  t.equal(retryAfter('999999999', 0), 6 * 3_600_000)
  for (const useless of [undefined, '', 'soon', '-5']) t.equal(retryAfter(useless, 0), 0)
  for (const wrong of ['', '5', '5d', '5s,,5s', 'x']) t.throws(() => parseSchedule(wrong))

  const answered = (status: number, headers = {}) =>
    meaningOf({ answer: { status, headers, body: Buffer.alloc(0), address: '' } }, 0)
  t.match(answered(204), { kind: 'delivered', endpoint: 'success' })
  t.match(answered(429, { 'retry-after': '7' }), { kind: 'retry', pace: 'calm', minDelay: 7000 })
  t.match(answered(503), { kind: 'retry', pace: 'calm' })
  t.match(answered(302), { kind: 'retry', pace: 'usual' })
  t.match(answered(410), { kind: 'stop', endpoint: 'gone' })
  t.equal(shownBodyOf(Buffer.from('you said s3cret'), ['s3cret', '']), 'you said ***')
})

t.test('an endpoint that keeps failing gets longer and longer pauses, and one success resets them', async t => {
  let timestamp = 1_000_000
  const endpoints = createEndpoints(connections.redis, connections.keySpace(),
    { perKey: 3, perEndpoint: 2, slotLifetime: 20_000 }, () => timestamp)
  const caller = (id: string, endpoint = 'one') => ({ id, round: 0, endpoint, keyId: 'key', shownUrl: 'https://example.org/' })
  const attempt = async (outcome: 'success' | 'failure') => {
    const compatibility = await endpoints.enter(caller('a'))
    if (compatibility.kind === 'enter') await endpoints.leave(caller('a'), outcome, 'usual')
    return compatibility
  }
  for (let failures = 0; failures < 10; failures++) {
    t.match(await attempt('failure'), { kind: 'enter' })
    timestamp += 15_000
  }
  const openUntil = (await endpoints.list('key'))[0]?.openUntil ?? 0
  t.match(await attempt('failure'), { kind: 'open', waitMs: openUntil - timestamp })
  t.equal(openUntil - (timestamp - 15_000), 60_000)
  timestamp = openUntil + 1
  t.match(await endpoints.enter(caller('b')), { kind: 'enter' })
  t.match(await endpoints.enter(caller('c')), { kind: 'busy' }, 'one at a time tries it')
  await endpoints.leave(caller('b'), 'failure', 'usual')
  t.match(await attempt('failure'), { kind: 'open', waitMs: 120_000 })
  timestamp += 120_001
  t.match(await attempt('success'), { kind: 'enter' })
  t.match(await endpoints.get('one'), { state: 'ok', failures: 0, openUntil: null })

  timestamp += 1
  await endpoints.leave(caller('a'), 'failure', 'usual')
  timestamp += 5 * 86_400_000
  await endpoints.leave(caller('a'), 'failure', 'usual')
  t.match(await attempt('failure'), { kind: 'disabled' })
  await endpoints.enable('one')
  t.match(await attempt('success'), { kind: 'enter' })
})

t.test('slots apply across processes, for each endpoint and each key, and those of dead processes become free', async t => {
  let timestamp = 1_000_000
  const endpoints = createEndpoints(connections.redis, connections.keySpace(),
    { perKey: 3, perEndpoint: 2, slotLifetime: 20_000 }, () => timestamp)
  const enter = async (id: string, endpoint: string, keyId = 'key') =>
    (await endpoints.enter({ id, round: 0, endpoint, keyId, shownUrl: 'https://example.org/' })).kind
  t.same([await enter('a', 'one'), await enter('b', 'one'), await enter('c', 'one')], ['enter', 'enter', 'busy'])
  t.same([await enter('d', 'two'), await enter('e', 'three')], ['enter', 'busy'], 'three for one key')
  t.equal(await enter('f', 'three', 'another'), 'enter')
  await endpoints.leave({ id: 'a', round: 0, endpoint: 'one', keyId: 'key', shownUrl: '' }, 'success', 'calm')
  t.equal(await enter('c', 'one'), 'busy', 'it asked for fewer: one at a time')
  timestamp += 20_001
  t.equal(await enter('c', 'one'), 'enter')
})

t.test('a released slot goes to the delivery that has waited longest at this endpoint or for this key', async t => {
  let timestamp = 1_000_000
  const endpoints = createEndpoints(connections.redis, connections.keySpace(),
    { perKey: 2, perEndpoint: 1, slotLifetime: 20_000 }, () => timestamp++)
  const caller = (id: string, endpoint: string, round = 0) =>
    ({ id, round, endpoint, keyId: 'key', shownUrl: 'https://example.org/' })
  const enter = async (...of: [string, string, number?]) => (await endpoints.enter(caller(...of))).kind
  t.same([await enter('a', 'one'), await enter('b', 'one', 3), await enter('c', 'one')], ['enter', 'busy', 'busy'])
  t.equal(await enter('a', 'one'), 'open', 'nobody else sends an event that is being sent')
  t.same([await enter('d', 'two'), await enter('e', 'three')], ['enter', 'busy'])
  const one = { endpoint: 'one', keyId: 'key' }
  t.equal(await endpoints.takeWaiting(one), null, 'there is no room')
  await endpoints.leave(caller('a', 'one'), 'success', 'usual')
  t.same(await endpoints.takeWaiting(one), { id: 'b', round: 3 })
  t.equal(await enter('b', 'one', 3), 'enter')
  await endpoints.leave(caller('b', 'one', 3), 'success', 'usual')
  t.same(await endpoints.takeWaiting(one), { id: 'c', round: 0 })
  t.same(await endpoints.takeWaiting(one), { id: 'e', round: 0 }, 'who waits for the key comes after who waits for the endpoint')
  t.equal(await endpoints.takeWaiting(one), null)
})

t.test('links to images work until they expire, for their image only', async t => {
  const urls = createImageUrls(newMasterKey())
  const link = new URL(urls.sign('https://queue.example.org/base', 'a.png', 5000))
  t.equal(link.origin + link.pathname, 'https://queue.example.org/base/outputs/a.png')
  const query = Object.fromEntries(link.searchParams)
  t.ok(urls.fits('a.png', query, 4999))
  t.notOk(urls.fits('a.png', query, 5000))
  t.notOk(urls.fits('b.png', query, 0))
  t.notOk(urls.fits('a.png', { ...query, exp: '6' }, 0))
  t.notOk(urls.fits('a.png', { ...query, sig: 'x' }, 0))
  t.notOk(urls.fits('a.png', { ...query, sig: [query.sig] }, 0))
  t.notOk(createImageUrls(newMasterKey()).fits('a.png', query, 0))
})

t.end()
