import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { SimulatorOptions } from '../../src/simulator/simulator.ts'
import { quick } from '../helper.ts'
import { checkInvariants } from './invariants.ts'
import { startFleet, type Fleet } from './processes.ts'

/** Servers that do not show which of our jobs they run, each in its own way. */
const servers: Readonly<Record<string, SimulatorOptions>> = {
  'an A1111 behind something that takes our task away': { knowsTasks: false },
  'an A1111 started with --nowebui': { internalProgress: false },
  'an SD.Next': { flavor: 'sdnext' }
}

/** Its first generation takes longer than any takeover; a second would not. */
const long = { ...quick, prompt: 'a long one', steps: 40 }
const onceSlow = { kind: 'slow', factor: 90, prompt: long.prompt } as const

function generationsOf ({ simulator }: Fleet, id: string) {
  return simulator.state().generations.filter(({ taskId }) => taskId === id)
}

for (const [name, options] of Object.entries(servers)) {
  t.test(name, async t => {
    const fleet = await startFleet(t, options)
    const [api, worker] = await Promise.all([fleet.apiHere(), fleet.worker()])

    const shown = async (id: string) => {
      for (;;) {
        const { progress } = await api.job(id) as { progress?: { fraction?: number } | number | null }
        const fraction = typeof progress === 'number' ? progress : progress?.fraction ?? 0
        if (fraction > 0) return fraction
        await sleep(20)
      }
    }

    await t.test('shows the progress of a job, and is interrupted when that is cancelled', async t => {
      fleet.simulator.setFaults([onceSlow])
      const id = await api.submit(long)
      await shown(id)
      t.equal((await api.request('POST', `/api/v2/jobs/${id}/cancel`)).status, 200)
      t.equal((await api.until(id, 'completed', 'failed', 'cancelled')).status, 'cancelled')
      t.match(generationsOf(fleet, id), [{ interrupted: true }])
    })

    await t.test('is not interrupted while it runs another client\'s generation', async t => {
      fleet.simulator.startBrowserJob({ steps: 15 })
      const id = await api.submit(long)
      while ((await api.job(id)).status !== 'processing') await sleep(10)
      t.equal((await api.request('POST', `/api/v2/jobs/${id}/cancel`)).status, 200)
      await api.until(id, 'cancelled')
      const theirs = () => fleet.simulator.state().generations.filter(({ prompt }) => prompt === 'a human job')
      // A job that is sent beside it could not be recognised.
      while (theirs()[0]?.finishedAt === null) await sleep(10)
      t.match(theirs(), [{ interrupted: false, outcome: 'done' }])
    })

    await t.test('does not run a job twice at once after kill -9 of the worker', async t => {
      fleet.simulator.setFaults([onceSlow])
      const id = await api.submit(long)
      await shown(id)
      await worker.kill()
      await fleet.workerHere()
      t.equal((await api.until(id, 'completed', 'failed', 'cancelled')).status, 'completed')
      t.match(generationsOf(fleet, id), [{ interrupted: true }, { interrupted: false, outcome: 'done' }])
      const [first, second] = generationsOf(fleet, id)
      t.ok((second?.startedAt ?? 0) >= (first?.finishedAt ?? Infinity), 'one after the other')
    })

    const ours = fleet.simulator.state().generations.filter(({ prompt }) => prompt === long.prompt)
    await checkInvariants(t, new Set(ours.map(({ taskId }) => String(taskId))), fleet)
  })
}
