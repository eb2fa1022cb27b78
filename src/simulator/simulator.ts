import { setTimeout as sleep } from 'node:timers/promises'
import { ProcessDied } from '../fastapi/errors.ts'
import { createApp } from './app.ts'
import type { Fault } from './faults/faults.ts'
import { changeByHand, runBrowserJob } from './generation/browser-job.ts'
import type { GenerationRecord, SimulatorState } from './records.ts'
import { createMachine, createServerProcess, type ServerProcess } from './server-process.ts'
import { type ManyLoras, resolveSettings, type SimulatorOptions } from './settings.ts'

export type { SimulatorOptions } from './settings.ts'
export type { SimulatorState, GenerationRecord } from './records.ts'
export type { Fault, FaultKind } from './faults/faults.ts'

/** A running simulator. */
export interface Simulator {
  /** Without a trailing slash. */
  readonly url: string
  readonly port: number
  /** Stops for good; cuts what is under way. */
  close (): Promise<void>
  /** What it saw since the start or the last reset; survives simulated crashes. */
  state (): SimulatorState
  /** Replaces all faults; an empty list heals everything, hanging jobs included. */
  setFaults (faults: readonly Fault[]): void
  /** Forgets what it saw, and heals it. */
  reset (): void
  /** Dies now, refuses connections for so many milliseconds, then starts again; resolves when it listens again. */
  crash (refuseMilliseconds: number): Promise<void>
  /** As `crash`, and comes back with other files or another password. */
  restart (how: {
    readonly refuseMilliseconds?: number
    readonly checkpoints?: readonly string[]
    readonly auth?: string | null
    /** How slowly it starts, from now on; see the options of the same names. */
    readonly bareMilliseconds?: number
    readonly mountMilliseconds?: number
    /** Loses its config file, as where a container keeps none. */
    readonly freshConfig?: boolean
  }): Promise<void>
  /** Resolves when a request has ended a starting process, which then stays away until `crash` or `restart`. */
  readonly died: Promise<void>
  /** Changes the files in the models folder; the server sees them after a refresh or a restart. */
  setCheckpoints (names: readonly string[]): void
  /** As the option of that name, from now on. */
  setManyLoras (many: ManyLoras): void
  /** Starts a job as a human in the browser would; returns its task id. */
  startBrowserJob (job?: BrowserJob): string
  /** The same, and waits until it is done. */
  generateByHand (job?: BrowserJob): Promise<Readonly<GenerationRecord>>
  /** What the settings are now, as only the process itself knows: `saved` are those in its config file. */
  options (): { readonly all: Readonly<Record<string, unknown>>, readonly saved: readonly string[] }
  /** What it restores after overrides from now on. */
  setRestores (what: 'saved' | 'none'): void
  /** Changes settings in the browser, which saves them; the checkpoint's menu does so with the selection. */
  changeOptions (options: Readonly<Record<string, unknown>>): Promise<void>
}

interface BrowserJob { readonly steps?: number, readonly prompt?: string }

/** One run of the server process with the port it listens on. */
interface Run {
  readonly server: ServerProcess
  readonly port: number
  /** Cuts all connections and frees the port. */
  readonly end: () => Promise<void>
}

/**
 * Starts a simulated A1111, Forge or sd.cpp server.
 *
 * @throws Error when the port is taken
 */
export async function startSimulator (options: SimulatorOptions = {}): Promise<Simulator> {
  const settings = resolveSettings(options)
  const machine = createMachine(settings)
  const closed = new AbortController()
  let current: Run = await run(settings.port)
  let comingBack: Promise<void> = Promise.resolve()
  let dies = () => {}
  const died = new Promise<void>(resolve => { dies = resolve })
  const { port } = current

  async function run (onPort: number): Promise<Run> {
    const life = new AbortController()
    const server = createServerProcess(machine, life.signal, refuseMilliseconds => {
      if (life.signal.aborted) return
      comingBack = dieAndComeBack(refuseMilliseconds)
      if (refuseMilliseconds === Infinity) dies()
    })
    const app = createApp(server)
    app.server.on('connection', () => { machine.records.countConnect() })
    await app.listen({ host: settings.host, port: onPort })
    server.start.opened()
    const address = app.server.address()
    return {
      server,
      port: typeof address === 'object' && address !== null ? address.port : onPort,
      end: async () => {
        // As when a process ends: its port goes first, and its connections in the same moment.
        if (app.server.listening) app.server.close()
        life.abort(new ProcessDied())
        app.server.closeAllConnections()
        await app.close()
      }
    }
  }

  async function dieAndComeBack (refuseMilliseconds: number): Promise<void> {
    machine.records.countCrash()
    const isForGood = refuseMilliseconds === Infinity
    const back = isForGood ? null : sleepUntil(refuseMilliseconds, closed.signal)
    await current.end()
    if (back === null) return
    await back
    await comeBack()
  }

  async function comeBack (): Promise<void> {
    while (!closed.signal.aborted) {
      try {
        current = await run(port)
        return
      } catch (error) {
        // while it refused, some connection may have taken the port as its own
        if (!isTaken(error)) throw error
        await sleepUntil(20, closed.signal)
      }
    }
  }

  async function crash (refuseMilliseconds: number): Promise<void> {
    const { life } = current.server
    await comingBack
    if (!life.aborted) current.server.die(refuseMilliseconds)
    else if (current.server.life === life) comingBack = sleepUntil(refuseMilliseconds, closed.signal).then(comeBack)
    await comingBack
  }

  return {
    url: `http://${settings.host.includes(':') ? `[${settings.host}]` : settings.host}:${port}`,
    port,
    async close () {
      closed.abort()
      await comingBack
      await current.end()
    },
    state: () => machine.records.snapshot(),
    setFaults: faults => { machine.faults.set(faults) },
    reset () {
      machine.faults.set([])
      machine.records.reset()
    },
    setCheckpoints: names => { machine.disk.checkpoints = names },
    setManyLoras: many => { machine.disk.manyLoras = many },
    crash,
    died,
    async restart ({ refuseMilliseconds = 0, checkpoints, auth, freshConfig = false, ...start }) {
      Object.assign(machine.start, start)
      if (checkpoints !== undefined) machine.disk.checkpoints = checkpoints
      if (auth !== undefined) machine.auth = auth
      if (freshConfig) machine.disk.config.clear()
      await crash(refuseMilliseconds)
    },
    startBrowserJob (job = {}) {
      const { taskId, done } = runBrowserJob(current.server, browserJob(job))
      done.catch(() => undefined)
      return taskId
    },
    generateByHand: async (job = {}) => await runBrowserJob(current.server, browserJob(job)).done,
    options: () => ({ all: current.server.options.all(), saved: [...machine.disk.config.keys()] }),
    setRestores: what => { machine.restores = what },
    changeOptions: async options => { await changeByHand(current.server, options) }
  }
}

function browserJob ({ steps = 20, prompt = 'a human job' }: BrowserJob): Required<BrowserJob> {
  return { steps, prompt }
}

function isTaken (error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
}

async function sleepUntil (milliseconds: number, stop: AbortSignal): Promise<void> {
  if (stop.aborted) return
  await sleep(milliseconds, undefined, { signal: stop }).catch(() => undefined)
}
