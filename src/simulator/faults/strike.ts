import { ProcessDied, PythonError } from '../../fastapi/errors.ts'
import { runBrowserJob } from '../generation/browser-job.ts'
import type { ServerProcess } from '../server-process.ts'
import type { Fault, StruckFaults } from './faults.ts'

const defaultRefusal = 1000

/** Lets the process die by this fault, if it struck; never comes back then. */
export function crashBy (server: ServerProcess, fault: Fault | undefined): void {
  if (fault === undefined) return
  server.die(fault.refuseMilliseconds ?? defaultRefusal)
}

/** Faults that strike on the arrival of a request; one that restarts the process never comes back. */
export function strikeOnArrival (server: ServerProcess, faults: StruckFaults): void {
  const { disk } = server.machine
  const models = faults.get('other-models')
  if (models !== undefined) disk.checkpoints = models.checkpoints ?? [...disk.checkpoints.slice(1), 'another.safetensors']
  const password = faults.get('other-password')
  if (password !== undefined) server.machine.auth = password.auth === undefined ? 'changed:changed' : password.auth
  crashBy(server, faults.get('crash-before') ?? models ?? password)
  if (server.life.aborted) throw new ProcessDied()
  const browserJob = faults.get('human-job')
  if (browserJob === undefined) return
  const { done } = runBrowserJob(server, { steps: browserJob.steps ?? 20, prompt: 'a human job' })
  done.catch(() => undefined)
}

/** Faults that strike before one of the steps of a pass. */
export async function strikeDuringStep (
  server: ServerProcess, faults: StruckFaults, at: { readonly step: number, readonly steps: number }
): Promise<void> {
  const half = Math.floor(at.steps / 2)
  const isAt = (fault: Fault | undefined, usual: number): fault is Fault =>
    fault !== undefined && at.step === Math.min(fault.afterSteps ?? usual, at.steps - 1)

  const crash = faults.get('crash-mid')
  if (isAt(crash, half)) crashBy(server, crash)
  const outOfMemory = faults.get('out-of-memory')
  if (isAt(outOfMemory, 0)) throw outOfMemoryError()
  const nan = faults.get('nan')
  if (isAt(nan, 0)) throw nanError()
  const hang = faults.get('hang')
  if (isAt(hang, half)) await untilGoneOrDead(server, hang)
  if (isAt(faults.get('progress-freeze'), half)) {
    const { state } = server
    server.memory.frozenState = { ...state, preview: { ...state.preview, draw: null } }
  }
}

/** Faults that hold up or fail a job as soon as it has begun. */
export async function strikeAtStart (server: ServerProcess, faults: StruckFaults): Promise<void> {
  const loading = faults.get('hang-loading')
  if (loading !== undefined) await untilGoneOrDead(server, loading)
  if (server.life.aborted) throw new ProcessDied()
  if (faults.has('cuda-poisoned')) server.memory.poisoned = true
  if (server.memory.poisoned) {
    throw new PythonError('RuntimeError', 'CUDA error: an illegal memory access was encountered\n' +
      'CUDA kernel errors might be asynchronously reported at some other API call.')
  }
  const error = faults.get('runtime-error')
  if (error !== undefined) throw new PythonError('RuntimeError', error.message ?? 'something went wrong')
  if (faults.has('exception-group')) {
    throw new PythonError('ExceptionGroup', 'unhandled errors in a TaskGroup (1 sub-exception)')
  }
}

/** Resolves when the fault is taken away, or when the process dies. */
export async function untilGoneOrDead (server: ServerProcess, fault: Fault): Promise<void> {
  const { life, machine } = server
  if (life.aborted) return
  await new Promise<void>(resolve => {
    const done = (): void => {
      life.removeEventListener('abort', done)
      resolve()
    }
    life.addEventListener('abort', done, { once: true })
    machine.faults.gone(fault).then(done, done)
  })
}

function outOfMemoryError (): PythonError {
  return new PythonError('OutOfMemoryError',
    'CUDA out of memory. Tried to allocate 2.25 GiB. GPU 0 has a total capacity of 8.00 GiB of which 512.00 MiB is free.')
}

function nanError (): PythonError {
  return new PythonError('NansException',
    'A tensor with NaNs was produced in Unet. This could be either because there\'s not enough precision to represent ' +
    'the picture, or because your video card does not support half type. ' +
    'Use --disable-nan-check commandline argument to disable this check.')
}
