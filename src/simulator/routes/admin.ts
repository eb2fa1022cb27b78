import { readFaults } from '../faults/faults.ts'
import { HttpException } from '../../fastapi/errors.ts'
import { profiles } from '../flavors.ts'
import { changeByHand, runBrowserJob } from '../generation/browser-job.ts'
import type { ServerProcess } from '../server-process.ts'
import { get, post, type Route, type RouteInput } from './route.ts'

/**
 * The simulator's own routes: its identity, its records, and switches for every fault. They are in none of the server's
 * own lists.
 */
export function adminRoutes (server: ServerProcess): Route[] {
  const { machine } = server
  const open = { access: 'open', runsIn: 'loop' } as const
  const writable = { ...open, body: 'object' } as const

  return [
    get('/simulator/about', () => ({
      simulator: true, flavor: machine.settings.flavor, version: profiles[machine.settings.flavor].version
    }), open),
    get('/simulator/state', () => ({
      simulator: true,
      ...machine.records.snapshot(),
      faults: machine.faults.list(),
      loadedCheckpoint: server.memory.loaded?.name ?? null,
      waiting: server.jobLock.waiting()
    }), open),
    post('/simulator/faults', ({ body }) => {
      machine.faults.set(refuseBadly(() => readFaults(body.faults)))
      return { faults: machine.faults.list() }
    }, writable),
    post('/simulator/reset', () => {
      machine.faults.set([])
      machine.records.reset()
      return {}
    }, open),
    post('/simulator/human', async ({ body }) => {
      const job = runBrowserJob(server, { steps: Number(body.steps ?? 20), prompt: String(body.prompt ?? 'a human job') })
      if (body.wait === true) return { task: job.taskId, ...await job.done }
      job.done.catch(() => undefined)
      return { task: job.taskId }
    }, writable),
    // as in the browser: settings are saved, whatever the API allows
    post('/simulator/options', async ({ body }) => {
      await changeByHand(server, body)
      return { saved: [...machine.disk.config.keys()] }
    }, writable),
    post('/simulator/crash', ({ body }) => die(server, body), writable),
    post('/simulator/restart', ({ body }) => {
      if (Array.isArray(body.checkpoints)) machine.disk.checkpoints = body.checkpoints.map(String)
      if (body.auth !== undefined) machine.auth = body.auth === null ? null : String(body.auth)
      const times = ['bareMilliseconds', 'mountMilliseconds'] as const
      for (const name of times) if (body[name] !== undefined) machine.start[name] = Number(body[name])
      if (body.freshConfig === true) machine.disk.config.clear()
      return die(server, body)
    }, writable),
    // as if files were copied into the folder: seen after a refresh
    post('/simulator/checkpoints', ({ body }) => {
      if (Array.isArray(body.checkpoints)) machine.disk.checkpoints = body.checkpoints.map(String)
      return { checkpoints: machine.disk.checkpoints }
    }, writable),
    post('/simulator/loras', ({ body }) => {
      if (Array.isArray(body.loras)) machine.disk.loras = body.loras.map(String)
      return { loras: machine.disk.loras }
    }, writable),
    post('/simulator/auth', ({ body }) => {
      machine.auth = body.auth == null ? null : String(body.auth)
      return {}
    }, writable)
  ]
}

/** Answers first and dies right after, so that the client knows that it worked. */
function die (server: ServerProcess, body: RouteInput['body']): Record<string, unknown> {
  const refuseMilliseconds = Number(body.refuseMilliseconds ?? 1000)
  setTimeout(() => { server.die(refuseMilliseconds) }, 5)
  return { refuseMilliseconds }
}

function refuseBadly<Result> (read: () => Result): Result {
  try {
    return read()
  } catch (error) {
    throw new HttpException(422, error instanceof Error ? error.message : String(error))
  }
}
