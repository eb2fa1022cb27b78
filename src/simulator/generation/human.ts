import { loadCheckpoint, selectedCheckpoint, type ServerProcess } from '../server-process.ts'
import { beginJob, endJob, nextPass } from '../state.ts'
import { createTaskId } from '../tasks.ts'

/**
 * A job that a human started in the browser: it takes its turn at the lock like any other, shows up in progress
 * as `task(…)`, and nobody hears of its result.
 */
export function runHumanJob (
  server: ServerProcess, job: { readonly steps: number, readonly prompt: string }
): { readonly taskId: string, readonly done: Promise<void> } {
  const { state, tasks, machine, pace, timing } = server
  const letters = createTaskId('x').slice('task(x-'.length, -1).toLowerCase()
  const taskId = `task(${letters}${letters})`
  tasks.add(taskId)

  async function run (): Promise<void> {
    beginJob(state, taskId)
    tasks.start(taskId)
    const file = selectedCheckpoint(server)
    const record = machine.records.begin({ taskId, mode: 'human', prompt: job.prompt, checkpoint: file.name, seed: null })
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
    } finally {
      record.interrupted = state.interrupted
      record.finishedAt = Date.now()
      if (record.outcome === 'running') record.outcome = 'lost'
      endJob(state)
    }
  }

  return { taskId, done: server.jobLock.run(run) }
}
