import t, { type Test } from 'tap'
import { setTimeout as sleep } from 'node:timers/promises'
import { createA1111Client } from '../../src/a1111/client.ts'
import { createRawCalls } from '../../src/a1111/raw-calls.ts'
import { createTaskControl } from '../../src/jobs/interrupt.ts'
import { runCheck, type CheckDependencies, type CheckResult } from '../../src/server-check/run-check.ts'
import { reportText } from '../../src/server-check/report.ts'
import { defaultLimits } from '../../src/server-check/session.ts'
import { nothingToUndo, type UndoRecord } from '../../src/server-check/undo.ts'
import { startSimulator, type SimulatorOptions } from '../../src/simulator/simulator.ts'
import { silentLogger } from '../helper.ts'
import { startOddServer, type Oddities } from './odd-server.ts'

/** Slow enough that a generation can be interrupted. */
const simulated: SimulatorOptions = { stepMilliseconds: 5, loadMilliseconds: 0 }

/** A check of a simulator behind a proxy that makes it odd. */
async function check (
  t: Pick<Test, 'teardown'>, odd: Oddities = {}, options: SimulatorOptions = {},
  more: Partial<Pick<CheckDependencies, 'requested' | 'cancelled' | 'limits'>> = {}
) {
  const simulator = await startSimulator({ ...simulated, ...options })
  t.teardown(simulator.close)
  const { url, requests } = await startOddServer(t, simulator.url, odd)
  const result = await checkAddress(url, more)
  return { ...result, simulator, requests, findings: levelsOf(result) }
}

async function checkAddress (
  url: string, more: Partial<CheckDependencies> = {}
): Promise<CheckResult & { undo: UndoRecord }> {
  const address = { baseUrl: url }
  const client = createA1111Client(address)
  const calls = createRawCalls(address)
  let record = nothingToUndo
  try {
    const result = await runCheck({
      id: 'abc',
      alias: 'Main',
      baseUrl: url,
      redisVersion: '7.0.0',
      requested: { checkpoint: null, minutes: null },
      client,
      calls,
      control: createTaskControl(client, async () => true),
      undo: { read: () => record, async write (next) { record = next } },
      limits: { ...defaultLimits, lookMs: 5, largestBody: 6 * 1024 * 1024, waitMs: 200 },
      cancelled: new AbortController().signal,
      lost: new AbortController().signal,
      onSteps () {},
      log: silentLogger,
      ...more
    })
    return { ...result, undo: record }
  } finally {
    await client.close()
    await calls.close()
  }
}

/** The worst level of each topic. */
function levelsOf ({ report }: CheckResult): Record<string, string> {
  const order = ['good', 'note', 'unknown', 'harm']
  const levels: Record<string, string> = {}
  for (const { topic, level } of report.findings) {
    if (order.indexOf(level) >= order.indexOf(levels[topic] ?? 'good')) levels[topic] = level
  }
  return levels
}

t.test('a server without faults', async t => {
  const { report, learned, undo, findings, simulator } = await check(t)
  t.match(report, { outcome: 'finished', verdict: 'good', server: { kind: 'simulator', version: String, checkpoints: 4 } })
  t.match(learned, {
    tasksKnown: true,
    reportsProgress: true,
    showsPreviews: true,
    interrupts: true,
    bodyRefusedBytes: null,
    missingRoutes: []
  })
  t.same(undo, nothingToUndo)
  t.ok(report.generations.made <= report.generations.at_most, `${report.generations.made} generations`)
  t.equal(simulator.state().checkpointLoads, 0, 'no checkpoint is loaded')
  t.same(Object.entries(findings).filter(([, level]) => level === 'harm'), [])
  t.ok(simulator.state().generations.every(({ taskId }) => taskId?.startsWith('stablequeue-check-abc-')), 'own task ids')
})

t.test('a server that knows no tasks', async t => {
  const { learned, findings } = await check(t, {}, { internalProgress: false })
  t.match(learned, { tasksKnown: false, interrupts: true, reportsProgress: true })
  t.match(findings, { tasks: 'note', interrupt: 'good' })
})

t.test('a server whose task progress never knows our tasks, like SD.Next\'s', async t => {
  const body = JSON.stringify({ active: false, queued: false, completed: false, progress: null })
  const { learned } = await check(t, {
    answer: ({ path }) => path === '/internal/progress' ? { status: 200, body } : undefined
  })
  t.match(learned, { tasksKnown: false, interrupts: true }, 'it is interrupted all the same')
})

t.test('a slow server gets enough time to show a preview', async t => {
  const { learned } = await check(t, {}, { stepMilliseconds: 170 })
  t.match(learned, { showsPreviews: true, interrupts: true })
})

t.test('a server without progress, and one that ignores interrupts', async t => {
  const silent = await check(t, {
    answer: ({ path }) => /progress/.test(path) ? { status: 404, body: '{"detail":"Not Found"}' } : undefined
  })
  t.match(silent.learned, { tasksKnown: false, reportsProgress: false })
  t.notOk('interrupts' in silent.learned, 'not found out')
  t.match(silent.findings, { progress: 'note', interrupt: 'unknown' })

  const stubborn = await check(t, {
    answer: ({ path }) => path === '/sdapi/v1/interrupt' ? { status: 200, body: '{}' } : undefined
  })
  t.match(stubborn.learned, { interrupts: false, interruptMs: null })
  t.match(stubborn.report, { verdict: 'harm' })
  t.match(stubborn.findings, { interrupt: 'harm' })
})

t.test('settings that are restored, those that are not, and those that never are', async t => {
  const fresh = await check(t)
  t.match(fresh.learned, { restoresOverrides: 'saved' })
  const again = await checkAddress(fresh.simulator.url)
  const second = { ...again, findings: levelsOf(again) }
  t.match(second.learned, { restoresOverrides: 'saved' }, 'these are in its config file now, others are not')
  t.match(second.findings, { overrides: 'good' })

  // Without the flag, none is restored.
  const leaking = await startSimulator(simulated)
  t.teardown(leaking.close)
  const before = await (await fetch(`${leaking.url}/sdapi/v1/options`)).json() as Record<string, unknown>
  const { url } = await startForgetful(t, leaking.url)
  const { learned, report } = await checkAddress(url)
  t.match(learned, { restoresOverrides: 'none' })
  t.match(report, { verdict: 'harm', put_back: 'done' })
  t.match(await (await fetch(`${leaking.url}/sdapi/v1/options`)).json(), before)
})

t.test('routes from the server\'s document, or from requests that change nothing', async t => {
  const hidden = await check(t, {
    answer: ({ path }) => path === '/openapi.json' || path === '/sdapi/v1/interrogate'
      ? { status: 404, body: '{"detail":"Not Found"}' }
      : undefined
  })
  t.same(hidden.learned.missingRoutes, ['POST /sdapi/v1/interrogate'])
  t.notOk(hidden.requests.includes('POST /sdapi/v1/interrogate'), 'nothing is posted to find out')
  const blocked = await check(t, {
    rewrite: (path, status, text) => path === '/openapi.json' ? { status, text: text.replace('/sdapi/v1/img2img', '/none') } : undefined
  })
  t.match(blocked.findings, { routes: 'harm' })
})

t.test('errors in each form', async t => {
  const page = { status: 404, body: '<html>404</html>', contentType: 'text/html' }
  const behindPages = await check(t, { answer: ({ path }) => path === '/sdapi/v1/stablequeue-check' ? page : undefined })
  t.match(behindPages.findings, { errors: 'harm' })
  const bare = await check(t, { answer: ({ path }) => path === '/sdapi/v1/png-info' ? { status: 500, body: '"cannot read"' } : undefined })
  t.ok(bare.learned.errorStyles?.includes('bare_string'))
  const { learned } = await check(t, {}, { flavor: 'forge' })
  t.ok(learned.errorStyles?.includes('pydantic2'))
})

t.test('the limits of a proxy in front of it', async t => {
  const small = await check(t, { largestBody: 1024 * 1024, headers: { server: 'nginx/1.24' } })
  t.match(small.learned, { proxy: 'nginx' })
  const { bodyAcceptedBytes = 0, bodyRefusedBytes = 0 } = small.learned
  t.ok(Number(bodyAcceptedBytes) <= 1024 * 1024 && Number(bodyRefusedBytes) > 1024 * 1024, `${bodyAcceptedBytes} to ${bodyRefusedBytes}`)
  t.match(small.findings, { body_limit: 'harm' })

  const short = await check(t, { gatewayTimeout: 700 }, {}, { requested: { checkpoint: null, minutes: 0.1 } })
  t.match(short.findings, { time_limit: 'harm' })
  t.ok(Number(short.learned.timeLimitSeconds) >= 0.6, String(short.learned.timeLimitSeconds))
  const { interrupts, generations } = short.simulator.state()
  const areOver = generations.every(({ finishedAt }) => finishedAt !== null)
  t.ok(interrupts > 1 || areOver, 'what went on behind it is stopped')
  const long = await check(t, {}, {}, { requested: { checkpoint: null, minutes: 0.02 } })
  t.match(long.learned, { timeLimitSeconds: null })
  t.match(long.findings, { time_limit: 'good' })
})

t.test('a server that fails, rejects us or does not exist', async t => {
  const failing = await check(t, { answer: ({ path }) => path === '/sdapi/v1/txt2img' ? { status: 500, body: '{}' } : undefined })
  t.match(failing.report, { outcome: 'broken_off', verdict: 'harm' })
  const closed = await check(t, {}, { auth: 'ann:secret' })
  t.match(closed.report, { outcome: 'could_not_run', reason: /credentials/, generations: { made: 0 }, put_back: 'nothing' })
  const gone = await checkAddress('http://127.0.0.1:9')
  t.match(gone.report, { outcome: 'could_not_run', server: { kind: null } })
})

t.test('a server of a kind that accepts no settings', async t => {
  const { report, learned, findings } = await check(t, {}, { flavor: 'sdcpp' })
  t.match(report, { outcome: 'finished', verdict: 'good' })
  t.match(findings, { overrides: 'unknown', routes: 'note' })
  t.notOk('restoresOverrides' in learned)
})

t.test('a report contains no address, prompt or checkpoint name', async t => {
  const { report } = await check(t)
  const text = reportText(report)
  t.match(text, /this machine, port/)
  t.notMatch(text + JSON.stringify(report), /127\.0\.0\.1|grey square|dreamscape|realistic/)
})

t.test('a setting that a person changes meanwhile stays', async t => {
  const simulator = await startSimulator(simulated)
  t.teardown(simulator.close)
  const post = async (settings: object) => {
    await fetch(`${simulator.url}/sdapi/v1/options`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(settings)
    })
  }
  let generations = 0
  let changed: Promise<void> = Promise.resolve()
  const { url } = await startOddServer(t, simulator.url, {
    rewrite (path, status, text) {
      // Right after the first generation with other settings.
      if (path === '/sdapi/v1/txt2img' && text.includes('"override_settings":{"CLIP') && ++generations === 1) changed = post({ eta_ancestral: 0.5 })
      return { status, text }
    }
  })
  const cancelled = new AbortController()
  await checkAddress(url, {
    cancelled: cancelled.signal,
    onSteps (steps) { if (steps.find(({ name }) => name === 'overrides')?.state === 'done') cancelled.abort() }
  })
  await changed
  await sleep(0)
  t.match(await (await fetch(`${simulator.url}/sdapi/v1/options`)).json(), { eta_ancestral: 0.5, CLIP_stop_at_last_layers: 1 })
})

/** A proxy that makes the server not restore overridden settings. */
async function startForgetful (t: Pick<Test, 'teardown'>, target: string) {
  return await startOddServer(t, target, {
    change: ({ path, body }) => path === '/sdapi/v1/txt2img'
      ? Buffer.from(body.toString('utf8').replace('"override_settings_restore_afterwards":true', '"override_settings_restore_afterwards":false'))
      : body
  })
}
