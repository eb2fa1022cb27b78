import { cp, mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Webhook } from 'standardwebhooks'
import { createKeys } from '../src/lib/keys.ts'
import { startSimulator, type Fault, type Simulator } from '../src/simulator/simulator.ts'
import { readEvents, type StreamEvent } from '../test/support/consistency.ts'
import type { Caller } from './environment/caller.ts'
import { pidOfRedis, type Environment } from './environment/environment.ts'
import { launchService, type ServiceProcess, startService } from './environment/service.ts'
import { judgeFleet, type Life } from './fleet-soak-verdict.ts'
import { startReceiver } from './webhook-soak.ts'

/**
 * The soak over a fleet: four servers and one that joins and leaves, two workers, an API and Redis. Clients submit,
 * cancel, move, retry and reorder jobs, operators pause, drain, disable and restart servers, and one process after the
 * other is killed: `node bench/kill-soak.mjs --fleet --minutes 5 --seed 7`.
 */

/** Jobs wait up to this number, so that there is always something to lose. */
const longestLine = 24
/** The most times between two jobs, two actions and two kills, in milliseconds. */
const pauses = { jobs: 250, actions: 500, kills: 4000 }
/** For how long a worker or Redis is frozen at most: longer than a lease lasts. In milliseconds. */
const longestFreeze = 8000
/** For how long an operator takes a server out, and a dead server stays away, at most; in milliseconds. */
const longestAbsence = 3000
/** How long nothing can begin or end after the last fault before the jobs that are left count as stranded, in ms. */
const patience = 180_000

const settings = {
  EGRESS_PROFILE: 'lan',
  WEBHOOK_TIMEOUT_SECONDS: '2',
  WEBHOOK_RETRY_SCHEDULE: Array(30).fill('300ms').join(),
  RETRY_BACKOFF_SECONDS: '0.2',
  SERVER_START_SECONDS: '0.2',
  SIMULATOR: 'off'
}
const checkpoints = ['first', 'second', 'third', 'fourth'].map(name => `${name}.safetensors`)
/** Each server lacks one checkpoint; the last two have different ones loaded than the first two. */
const checkpointsOf = (index: number) => {
  const own = checkpoints.filter((_name, at) => at !== index % checkpoints.length)
  return index < 2 ? own : own.toReversed()
}
/**
 * Connections leave from 127.0.0.1. While a server is away, one of them can take its port there, and keep it: then the
 * server never comes back. Only Linux has the other addresses without being asked.
 */
const hostOf = (index: number) => process.platform === 'linux' ? `127.0.0.${index + 2}` : '127.0.0.1'
/** The server that joins and leaves. */
const guest = 'E'

/** Faults of the servers besides their deaths. */
const troubles: readonly Fault[] = [
  { kind: 'gateway-timeout', afterMilliseconds: 150, probability: 0.02, sticky: true },
  { kind: 'connection-cut', afterMilliseconds: 150, probability: 0.02, sticky: true },
  { kind: 'crash-mid', probability: 0.02, refuseMilliseconds: 300, sticky: true }
]

export interface FleetSoak {
  /** By the monotonic clock. */
  readonly endsAt: number
  readonly random: () => number
  /** The logs of all processes are copied there; null to keep none. */
  readonly logs: string | null
}

/** @returns the exit code: 0 if nothing was lost, doubled or left inconsistent */
export async function soakFleet (environment: Environment, { endsAt, random, logs }: FleetSoak): Promise<number> {
  const keys = createKeys('sq')
  const { redis } = environment
  redis.on('error', () => {})
  const simulators = new Map<string, Simulator>()
  for (const [index, alias] of ['A', 'B', 'C', 'D', guest].entries()) {
    const simulator = await startSimulator({
      host: hostOf(index),
      stepMilliseconds: 15 + 5 * index,
      loadMilliseconds: 200,
      checkpoints: checkpointsOf(index),
      faults: troubles,
      faultSeed: index
    })
    environment.onClose(simulator.close)
    simulators.set(alias, simulator)
  }
  const urlOf = (alias: string) => simulators.get(alias)?.url ?? ''
  const servers = Object.fromEntries(['A', 'B', 'C', 'D'].map(alias => [alias, urlOf(alias)]))

  const lives: Life[] = []
  function noteLife<Started extends ServiceProcess> (started: Started): Started {
    lives.push({ readLog: started.readLog, killedAt: null, frozen: [] })
    return started
  }
  function noteKill (process: ServiceProcess): void {
    const life = lives.find(({ readLog }) => readLog === process.readLog)
    if (life !== undefined) life.killedAt ??= Date.now()
  }
  /** Stops a process, which then continues as if nothing had happened. */
  async function freeze (pid: number, frozen: Array<readonly [number, number]>): Promise<void> {
    const from = Date.now()
    process.kill(pid, 'SIGSTOP')
    await sleep(random() * longestFreeze).finally(() => { process.kill(pid, 'SIGCONT') })
    frozen.push([from, Date.now()])
  }
  const startApi = async () => noteLife(await startService(environment, { command: 'api', servers, settings }))
  const startWorker = async () => noteLife(await launchService(environment, { command: 'worker', servers, settings }))
  let api = await startApi()
  const workers = [await startWorker(), await startWorker()]
  const { webhook_secret: secret } = await api.caller.get('/api/v1/webhooks/secret') as { webhook_secret: string }
  const receiver = await startReceiver(environment, new Webhook(secret), random)

  const countOf = async (status: string) => await redis.zcard(keys.key('jobs', '*', '*', status))
  const openJobs = async () => await countOf('pending') + await countOf('processing')
  const over = new AbortController()
  const accepted: string[] = []
  const retries = new Map<string, number>()
  const pick = <Item>(list: readonly Item[]): Item | undefined => list[Math.floor(random() * list.length)]

  /** The answer of the API; null if it is away or refuses. */
  async function ask (work: (caller: Caller) => Promise<unknown>): Promise<unknown> {
    return await work(api.caller).catch(() => null)
  }

  async function submitOn (): Promise<void> {
    for (let number = 0; !over.signal.aborted; await sleep(random() * pauses.jobs)) {
      if (await openJobs() >= longestLine) continue
      const answer = await ask(caller => caller.post('/api/v2/generate', {
        target_server_alias: random() < 0.3 ? pick(['A', 'B', 'C', 'D']) : 'default',
        priority: 1 + Math.floor(random() * 10),
        background: random() < 0.3,
        generation_params: {
          prompt: `number ${number}`,
          steps: 5 + Math.floor(random() * 25),
          width: 64,
          height: 64,
          sampler_name: 'Euler',
          ...random() < 0.7 ? { checkpoint_name: pick(checkpoints) } : {}
        },
        webhookUrl: receiver.url
      })) as { id: string } | null
      if (answer === null) continue
      accepted.push(answer.id)
      number++
    }
  }

  const someJob = async (status: string) => pick(await redis.zrange(keys.key('jobs', '*', '*', status), '0', '-1'))
  const someServer = () => pick(['A', 'B', 'C', 'D']) ?? 'A'
  const jobAction = (status: string, act: (caller: Caller, id: string) => Promise<unknown>) => async () => {
    const id = await someJob(status)
    return id === undefined ? null : await ask(async caller => await act(caller, id))
  }
  /** Takes a server out and back again, however often the API is away meanwhile. */
  const forAWhile = (out: (caller: Caller, alias: string) => Promise<unknown>,
    back: (caller: Caller, alias: string) => Promise<unknown>) => async () => {
    const alias = someServer()
    if (await ask(caller => out(caller, alias)) === null) return
    await sleep(random() * longestAbsence)
    while (await ask(caller => back(caller, alias)) === null) await sleep(100)
  }
  const serverPath = (alias: string) => `/api/v1/servers/${alias}`
  async function retryOne (status: string): Promise<void> {
    const id = await someJob(status)
    if (id === undefined) return
    // Counted before: the answer can get lost with the API.
    retries.set(id, (retries.get(id) ?? 0) + 1)
    await ask(caller => caller.post(`/api/v2/jobs/${id}/retry`))
  }
  async function guestComes (): Promise<void> {
    if (await ask(caller => caller.post('/api/v1/servers', { alias: guest, apiUrl: urlOf(guest) })) === null) return
    await sleep(random() * 2 * longestAbsence)
    while (await isThere(guest)) {
      await ask(caller => caller.delete(`${serverPath(guest)}?jobs=move&to=${someServer()}`))
      await sleep(100)
    }
  }
  async function isThere (alias: string): Promise<boolean> {
    const found = await ask(caller => caller.get('/api/v1/servers')) as Array<{ alias: string }> | null
    return found === null || found.some(server => server.alias === alias)
  }
  const actions: Readonly<Record<string, () => Promise<unknown>>> = {
    cancel: jobAction('pending', async (caller, id) => await caller.post(`/api/v2/jobs/${id}/cancel`)),
    'cancel what runs': jobAction('processing', async (caller, id) => await caller.post(`/api/v2/jobs/${id}/cancel`)),
    move: jobAction('pending', async (caller, id) =>
      await caller.patch(`/api/v2/jobs/${id}`, { server: random() < 0.5 ? 'default' : someServer() })),
    priority: jobAction('pending', async (caller, id) =>
      await caller.patch(`/api/v2/jobs/${id}`, { priority: 1 + Math.floor(random() * 10) })),
    lane: jobAction('pending', async (caller, id) =>
      await caller.patch(`/api/v2/jobs/${id}`, { background: random() < 0.5 })),
    'run now': jobAction('pending', async (caller, id) => await caller.post(`/api/v2/jobs/${id}/run-now`)),
    'retry a cancelled one': async () => { await retryOne('cancelled') },
    'retry a failed one': async () => { await retryOne('failed') },
    pause: forAWhile(async (caller, alias) => await caller.post(`${serverPath(alias)}/pause`),
      async (caller, alias) => await caller.post(`${serverPath(alias)}/resume`)),
    drain: forAWhile(async (caller, alias) => await caller.post(`${serverPath(alias)}/drain`),
      async (caller, alias) => await caller.post(`${serverPath(alias)}/resume`)),
    disable: forAWhile(async (caller, alias) => await caller.put(serverPath(alias), { enabled: false }),
      async (caller, alias) => await caller.put(serverPath(alias), { enabled: true })),
    'server dies': async () => { await simulators.get(someServer())?.crash(random() * longestAbsence) },
    'a server joins and leaves': guestComes
  }
  const done = new Map<string, number>()
  const acting = new Set<Promise<unknown>>()
  async function actOn (): Promise<void> {
    for (; !over.signal.aborted; await sleep(random() * pauses.actions)) {
      // At most two servers are away by an operator or by death at once.
      const name = pick(Object.keys(actions).filter((_name, index) => index < 8 || acting.size < 2))
      if (name === undefined) continue
      done.set(name, (done.get(name) ?? 0) + 1)
      const act = (actions[name]?.() ?? Promise.resolve()).finally(() => { acting.delete(act) })
      acting.add(act)
    }
  }

  const killed = new Map<string, number>()
  async function killOne (): Promise<void> {
    const chance = random()
    const count = (name: string) => { killed.set(name, (killed.get(name) ?? 0) + 1) }
    if (chance < 0.15) {
      count('Redis')
      process.kill(await pidOfRedis(environment), 'SIGKILL')
    } else if (chance < 0.2) {
      count('Redis frozen')
      const frozen: Array<readonly [number, number]> = []
      await freeze(await pidOfRedis(environment), frozen)
      for (const life of lives) life.frozen.push(...frozen)
    } else if (chance < 0.35) {
      count('API')
      noteKill(api)
      await api.kill()
      api = await startApi()
    } else {
      const index = random() < 0.5 ? 0 : 1
      const worker = workers[index]
      if (worker === undefined) return
      const name = `worker ${index === 0 ? 'A' : 'B'}`
      if (chance < 0.5) {
        count(`${name} frozen`)
        const life = lives.find(({ readLog }) => readLog === worker.readLog)
        return await freeze(worker.pid, life?.frozen ?? [])
      }
      noteKill(worker)
      const inOrder = chance > 0.9
      count(`${name}${inOrder ? ', in order' : ''}`)
      await (inOrder ? worker.stop() : worker.kill())
      await sleep(random() * 1000)
      workers[index] = await startWorker()
    }
  }

  const events: StreamEvent[] = []
  const noteEvents = async () => { events.push(...await readEvents({ look: redis, keys }, events.at(-1)?.id)) }
  const clients = Promise.all([submitOn(), actOn()])
  // Also awaited below. If something else fails first, that is the error to report.
  clients.catch(() => {})
  while (performance.now() < endsAt) {
    await sleep(random() * pauses.kills)
    await killOne()
    await noteEvents()
    const kills = [...killed.values()].reduce((sum, count) => sum + count, 0)
    if (kills % 10 === 0) process.stderr.write(`${kills} kills, ${accepted.length} jobs, ${await openJobs()} open\n`)
  }
  over.abort()
  await clients
  await Promise.all(acting)
  for (const simulator of simulators.values()) simulator.setFaults([])
  for (const alias of Object.keys(servers)) await ask(caller => caller.post(`${serverPath(alias)}/resume`))

  const unsettled = async () => await openJobs() + await redis.xlen(keys.key('webhook-outbox')) +
    await redis.zcard(keys.key('deliveries', '*', 'pending'))
  let since = performance.now()
  for (let last = ''; await unsettled() > 0 && performance.now() - since < patience; await sleep(100)) {
    await noteEvents()
    const now = `${events.length} ${receiver.received.size} ${await unsettled()}`
    if (now !== last) since = performance.now()
    last = now
  }
  await noteEvents()
  const { lines, ok } = await judgeFleet({
    environment, keys, accepted, retries, lives, simulators, events, received: receiver.received, patience
  })
  const counts = (all: ReadonlyMap<string, number>) => [...all].map(([name, count]) => `${name} ${count}`).join(', ')
  process.stdout.write([
    `kills: ${counts(killed)}`,
    `actions: ${counts(done)}`,
    `deliveries that the library did not verify: ${receiver.forged()}`,
    ...lines
  ].join('\n') + '\n')
  if (logs !== null) await keepLogs(environment, logs)
  return ok && receiver.forged() === 0 ? 0 : 1
}

async function keepLogs ({ folder }: Environment, to: string): Promise<void> {
  await mkdir(to, { recursive: true })
  for (const name of await readdir(folder)) if (name.endsWith('.log')) await cp(join(folder, name), join(to, name))
}
