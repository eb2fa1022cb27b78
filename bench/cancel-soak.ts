import { setTimeout as sleep } from 'node:timers/promises'
import { createKeys } from '../src/lib/keys.ts'
import { createRandom } from '../src/simulator/random.ts'
import { startSimulator } from '../src/simulator/simulator.ts'
import { createCaller, repeat } from './environment/caller.ts'
import { findProblems, readEvents, type StreamEvent } from '../test/support/consistency.ts'
import { closeEverything, withEnvironment, type Environment } from './environment/environment.ts'
import { startService } from './environment/service.ts'
import { startThirdParty } from '../test/support/third-party.ts'
import { until } from './environment/until.ts'

/**
 * Cancels jobs at random times of their lives while another client uses the same server, then counts whose generations
 * were interrupted: `node bench/cancel-soak.mjs [cancels] [seed] [--nowebui]`. With `--nowebui` the server does not
 * distinguish tasks, as A1111 without its interface.
 */

/** Jobs that are under way at a time. */
const atOnce = 4
/** A cancel comes up to so many milliseconds after its job was accepted: while it waits, runs, is stored or is over. */
const latestCancel = 4000
/** From generations too short to be stopped to those that only a cancel ends soon. */
const steps = { fewest: 2, most: 150 }
const thirdPartyPrompt = 'a stranger'

interface Soak {
  readonly cancels: number
  readonly seed: number
  /** Whether the server distinguishes tasks. */
  readonly tasks: 'distinguished' | 'alike'
}

/** @returns the exit code: 0 if only cancelled generations were interrupted, and nothing is inconsistent */
export async function main (parameters: readonly string[]): Promise<number> {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => { closeEverything().finally(() => process.exit(130)) })
  }
  const [cancels = '1000', seed = '7'] = parameters.filter(parameter => !parameter.startsWith('--'))
  const tasks = parameters.includes('--nowebui') ? 'alike' : 'distinguished'
  return await withEnvironment(async environment => await soak(environment, {
    cancels: Number(cancels), seed: Number(seed), tasks
  }))
}

/** Short ones are the likelier, so that many cancels meet their ends. */
function stepsOf (chance: number): number {
  return Math.floor(steps.fewest * (steps.most / steps.fewest) ** chance)
}

async function soak (environment: Environment, { cancels, seed, tasks }: Soak): Promise<number> {
  const random = createRandom(seed)
  const simulator = await startSimulator({
    stepMilliseconds: 20, loadMilliseconds: 0, internalProgress: tasks === 'distinguished'
  })
  environment.onClose(simulator.close)
  const service = await startService(environment, { command: 'start', servers: { Main: simulator.url } })
  const thirdParty = startThirdParty(simulator.url, thirdPartyPrompt)
  const caller = createCaller(service.url)
  environment.onClose(caller.close)
  const keys = createKeys('sq')
  const events: StreamEvent[] = []
  const accepted: string[] = []
  const cancelled = new Set<string>()
  let tooLate = 0

  async function cancelOne (number: number): Promise<void> {
    const { id } = await caller.post('/api/v2/generate', {
      target_server_alias: 'Main',
      generation_params: { prompt: `number ${number}`, steps: stepsOf(random()), width: 64, height: 64 }
    }) as { id: string }
    accepted.push(id)
    await sleep(random() * latestCancel)
    await caller.post(`/api/v2/jobs/${id}/cancel`).then(() => cancelled.add(id), () => { tooLate++ })
    await until(async () => {
      const { job } = await caller.get(`/api/v2/jobs/${id}`) as { job: { status: string } }
      return !['pending', 'processing'].includes(job.status)
    }, `job ${id} has ended`)
    if (number % 50 !== 49) return
    events.push(...await readEvents({ look: environment.redis, keys }, events.at(-1)?.id))
    process.stderr.write(`${number + 1} of ${cancels}; the stranger had ${thirdParty.generations()} generations\n`)
  }

  await repeat(cancels, atOnce, cancelOne)
  await thirdParty.stop()
  events.push(...await readEvents({ look: environment.redis, keys }, events.at(-1)?.id))

  const { generations, interrupts, maxInFlight } = simulator.state()
  const thirdParties = generations.filter(({ prompt }) => prompt === thirdPartyPrompt)
  const own = generations.filter(({ prompt }) => prompt !== thirdPartyPrompt)
  const wronglyInterrupted = own.filter(({ interrupted, taskId }) => interrupted && !cancelled.has(taskId ?? ''))
  const interruptedThirdParties = thirdParties.filter(({ interrupted }) => interrupted)
  const twice = own.length - new Set(own.map(({ taskId }) => taskId)).size
  const problems = await findProblems(accepted, {
    look: environment.redis, keys, dataDirectory: environment.folder, events
  })
  process.stdout.write([
    `seed ${seed}, tasks ${tasks}`,
    `cancels: ${cancels}, of which taken: ${cancelled.size}, too late: ${tooLate}`,
    `own jobs that reached the server: ${own.length}, interrupted there: ${own.filter(({ interrupted }) => interrupted).length}`,
    `interrupts sent: ${interrupts}; most requests at the server at once: ${maxInFlight}`,
    `foreign generations: ${thirdParties.length}, interrupted: ${interruptedThirdParties.length}`,
    `own generations interrupted without a cancel: ${wronglyInterrupted.length}; jobs generated twice: ${twice}`,
    `lost, ended twice or inconsistent: ${problems.length}`,
    ...problems
  ].join('\n') + '\n')
  return interruptedThirdParties.length + wronglyInterrupted.length + twice + problems.length === 0 ? 0 : 1
}
