import type { GenerationRecord } from '../records.ts'
import { loadCheckpoint, selectedCheckpoint, type ServerProcess } from '../server-process.ts'
import { beginJob, endJob, nextPass } from '../state.ts'
import { createTaskId } from '../progress.ts'
import { optionMarks } from './option-marks.ts'

/**
 * A job that a human started in the browser: it takes its turn at the lock like any other, shows up in progress
 * as `task(…)`. Nobody but the browser hears of its result.
 */
export function runBrowserJob (
  server: ServerProcess, job: { readonly steps: number, readonly prompt: string }
): { readonly taskId: string, readonly done: Promise<GenerationRecord> } {
  const { state, tasks, machine, pace, timing } = server
  const letters = createTaskId('x').slice('task(x-'.length, -1).toLowerCase()
  const taskId = `task(${letters}${letters})`
  tasks.add(taskId)

  async function run (): Promise<GenerationRecord> {
    beginJob(state, taskId)
    tasks.start(taskId)
    const file = selectedCheckpoint(server)
    const record = machine.records.begin({
      taskId, mode: 'human', prompt: job.prompt, checkpoint: file.name, seed: null, overrides: null
    })
    record.marks = optionMarks(server.options, {})
    try {
      await loadCheckpoint(server, file)
      state.jobCount = 1
      state.samplingSteps = job.steps
      pace.restart()
      for (let step = 0; step < job.steps && !state.interrupted; step += 1) {
        await pace.pass(timing.step({ width: 512, height: 512, batch: 1, order: 1 }))
        state.samplingStep = step
      }
      nextPass(state)
      tasks.finish(taskId)
      record.outcome = 'done'
      return record
    } finally {
      record.interrupted = state.interrupted
      record.finishedAt = Date.now()
      if (record.outcome === 'running') record.outcome = 'lost'
      endJob(state)
    }
  }

  return { taskId, done: server.jobLock.run(run) }
}

/** A change in the browser: it is saved, and another checkpoint is loaded as soon as no job holds the lock. */
export async function changeByHand (server: ServerProcess, changes: Readonly<Record<string, unknown>>): Promise<void> {
  const { options, machine } = server
  const before = selectedCheckpoint(server)
  for (const [key, value] of Object.entries(changes)) options.setAny(key, value)
  if (selectedCheckpoint(server) !== before && machine.settings.family !== 'forge') {
    await server.jobLock.run(async () => { await loadCheckpoint(server, selectedCheckpoint(server)) })
  }
  options.save()
}
