import { join } from 'node:path'
import t from 'tap'
import { type DoctorServer, judgeClock, judgeSpace, renderFindings, runDoctor } from '../../src/main/doctor.ts'
import type { Finding } from '../../src/redis/check.ts'
import { startTestRedis } from '../redis.ts'

const defaults = { REDIS_URL: '', REDIS_SERVER: '', DATA_DIR: '/tmp' }

/** Runs the doctor and returns its findings. */
async function examine (config: Partial<typeof defaults>, servers: DoctorServer[] = []) {
  let report = ''
  const code = await runDoctor({ ...defaults, ...config }, {
    servers,
    probeServer: async url => {
      if (url.includes('dead')) throw new Error('connect ECONNREFUSED')
      return 'A1111 1.10.1'
    },
    print: text => { report = text }
  }, 'json')
  const { ok, findings } = JSON.parse(report)
  t.equal(ok, code === 0)
  const levels = Object.fromEntries(findings.map(({ topic, level }: Finding) => [topic, level]))
  return { code, report, levels }
}

t.test('a machine without problems gets exit code 0', async t => {
  const redis = await startTestRedis({ persistence: 'always' })
  t.teardown(redis.stop)
  const { code, levels } = await examine({ REDIS_URL: redis.url }, [{ alias: 'Main', url: 'http://good:7860' }])
  t.same(levels, {
    'redis version': 'fine',
    'redis eviction': 'fine',
    'redis persistence': 'fine',
    'redis memory': 'fine',
    clock: 'fine',
    'disk space': levels['disk space'],
    'data directory': 'fine',
    'server Main': 'fine'
  })
  t.equal(code, levels['disk space'] === 'problem' ? 1 : 0)
})

t.test('a server that does not answer is a problem, and the report does not contain its password', async t => {
  const { code, levels, report } = await examine({}, [
    { alias: 'Good', url: 'http://good:7860' }, { alias: 'Dead', url: 'http://user:hunter2@dead:7860' }
  ])
  t.equal(code, 1)
  t.match(levels, { 'server Good': 'fine', 'server Dead': 'problem' })
  t.match(report, 'http://dead:7860 cannot be used: connect ECONNREFUSED')
  t.match(report, '--api')
  t.notMatch(report, 'hunter2')
})

t.test('a Redis that is away is a problem, but does not hide the rest', async t => {
  const { code, levels, report } = await examine({ REDIS_URL: 'unix://:hunter2@/nonexistent.sock' })
  t.equal(code, 1)
  t.match(levels, { redis: 'problem', servers: 'warning', 'data directory': 'fine' })
  t.notMatch(report, 'hunter2')
})

t.test('while the service is stopped, the program for its private Redis is checked', async t => {
  const folder = join(t.testdir(), 'not/yet/there')
  t.match((await examine({ DATA_DIR: folder })).levels, { redis: 'fine', 'data directory': 'fine' })
  t.match(await examine({ REDIS_SERVER: 'no-such-redis' }), { code: 1, report: /no-such-redis is not in PATH/ })
})

t.test('findings about clock and space depend on the harm they can do', async t => {
  t.same([0, -400, 2000, -60_000].map(difference => judgeClock(difference).level), ['fine', 'fine', 'warning', 'problem'])
  t.match(judgeClock(-2000).message, '2.0 s behind')
  t.same([10, 1, 0.1].map(size => judgeSpace('/data', size * 2 ** 30).level), ['fine', 'warning', 'problem'])
})

t.test('the report for people shows each remedy under its problem', async t => {
  t.equal(renderFindings([
    { topic: 'clock', level: 'fine', message: 'is right' },
    { topic: 'disk space', level: 'problem', message: 'is gone', remedy: 'Make room.' }
  ]), 'fine     clock: is right\nproblem  disk space: is gone\n         Make room.\n\nproblems: 1, warnings: 0')
})
