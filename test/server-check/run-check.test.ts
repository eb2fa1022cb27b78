import t, { type Test } from 'tap'
import { createA1111Client } from '../../src/a1111/client.ts'
import { createRawCalls } from '../../src/a1111/raw-calls.ts'
import { createTaskControl } from '../../src/jobs/task-control.ts'
import { runCheck, type CheckDependencies, type CheckResult } from '../../src/server-check/run-check.ts'
import { reportText } from '../../src/server-check/report.ts'
import { usualLimits } from '../../src/server-check/session.ts'
import { nothingToUndo, type UndoRecord } from '../../src/server-check/undo.ts'
import { startSimulator, type SimulatorOptions } from '../../src/simulator/simulator.ts'
import { silentLogger } from '../helper.ts'
import { startOddServer, type Oddities } from './odd-server.ts'

/** Slow enough that a generation can be interrupted. */
const simulated: SimulatorOptions = { stepMilliseconds: 5, loadMilliseconds: 0 }

/** A check of a simulator behind a proxy that makes it odd. */
async function check (
  t: Pick<Test, 'teardown'>, odd: Oddities = {}, options: SimulatorOptions = {},
  more: Partial<Pick<CheckDependencies, 'wishes' | 'cancelled' | 'limits'>> = {}
) {
  const simulator = await startSimulator({ ...simulated, ...options })
  t.teardown(simulator.close)
  const { url, requests } = await startOddServer(t, simulator.url, odd)
  const result = await checkAddress(url, more)
  return { ...result, simulator, requests, findings: levelsOf(result) }
}

async function checkAddress (url: string, more: Partial<CheckDependencies> = {}): Promise<CheckResult & { undo: UndoRecord }> {
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
      wishes: { checkpoint: null, minutes: null },
      client,
      calls,
      control: createTaskControl(client, async () => true),
      undo: { read: () => record, async write (next) { record = next } },
      limits: { ...usualLimits, lookMs: 5, largestBody: 6 * 1024 * 1024, waitMs: 200 },
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

t.test('a server that behaves', async t => {
  const { report, learned, undo, findings, simulator } = await check(t)
  t.match(report, { outcome: 'finished', verdict: 'good', server: { kind: 'simulator', version: String, checkpoints: 4 } })
  t.match(learned, { tasksKnown: true, reportsProgress: true, showsPreviews: true, interrupts: true, bodyRefusedBytes: null, missingRoutes: [] })
  t.same(undo, nothingToUndo)
  t.ok(report.generations.made <= report.generations.at_most, `${report.generations.made} generations`)
  t.equal(simulator.state().checkpointLoads, 0, 'no checkpoint is loaded')
  t.comment(reportText(report))
  t.comment(findings)
})
