import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ServerCheckReport, ServerCheckStep, ServerCheckView } from '../../schemas/server-check.ts'
import type { ServerView } from '../../schemas/server.ts'
import { createA1111Client } from '../a1111/client.ts'
import { readCheckpoints } from '../a1111/inventory.ts'
import { findCheckpoint } from '../a1111/names.ts'
import { createRawCalls } from '../a1111/raw-calls.ts'
import type { ServerAddress } from '../a1111/types.ts'
import type { Config } from '../config/settings.ts'
import { createTaskControl } from '../jobs/interrupt.ts'
import { withDeadline } from '../lib/deadline.ts'
import { messageOf, ServiceError, UsageError } from '../lib/errors.ts'
import { createHttpClient } from '../lib/http/client.ts'
import type { Log } from '../lib/logging.ts'
import { hasEnded, identify, type ProcessIdentity } from '../redis/private/process.ts'
import { reportText } from '../server-check/report.ts'
import { runCheck } from '../server-check/run-check.ts'
import { defaultLimits } from '../server-check/session.ts'
import { isEmpty, nothingToUndo, putBack, type UndoNotes, type UndoRecord } from '../server-check/undo.ts'
import { createServerReach, parseServerUrl } from '../servers/address.ts'
import { createServerStarts } from '../servers/start-guard.ts'
import { createLocalStartNotes } from '../servers/start-notes.ts'

const silent = () => {}
const noLog: Log = { trace: silent, debug: silent, info: silent, warn: silent, error: silent }

/** A file in DATA_DIR with the process that checks an address, and the state to restore. */
interface CheckFile {
  readonly process: ProcessIdentity | null
  readonly undo: UndoRecord
}

/**
 * Checks an unregistered server. A file records the changes first, so that the next check of the same address undoes
 * them if this process is killed.
 * @returns the report, or why it could not run
 */
async function checkAddressDirectly (
  address: ServerAddress, options: ThoroughOptions, { config, progress, cancelled }: ThoroughDependencies
): Promise<ServerCheckReport | string> {
  const { resolve } = createServerReach(config.SERVERS_ALLOW)
  const guard = createServerStarts({
    notes: createLocalStartNotes(), waitMs: config.SERVER_START_SECONDS * 1000, resolve, log: noLog
  })
  const client = createA1111Client(address, { resolve, guard })
  const calls = createRawCalls(address, { resolve, guard })
  const name = createHash('sha256').update(address.baseUrl).digest('hex').slice(0, 16)
  const path = join(config.DATA_DIR, `server-check-${name}.json`)
  try {
    await mkdir(config.DATA_DIR, { recursive: true })
    const left = await claim(path)
    if (left === 'running') return 'A check of that address is running already.'
    const control = createTaskControl(client, async () => true)
    if (!isEmpty(left)) {
      progress('A former check of this address was killed; what it changed is put back first.')
      const stuck = await putBack(left, { calls, control, signal: cancelled })
      if (stuck.length > 0) return `Settings of a former check could not be put back: ${stuck.join(', ')}.`
    }
    const checkpoint = options.checkpoint === null ? null : await titleOf(client, options.checkpoint)
    const printed = new Set<string>()
    const undo = notesIn(path)
    const { report } = await runCheck({
      id: randomUUID(),
      alias: null,
      baseUrl: address.baseUrl,
      redisVersion: null,
      requested: { checkpoint, minutes: options.minutes },
      client,
      calls,
      control,
      undo,
      limits: { ...defaultLimits, waitMs: 120_000 },
      cancelled,
      lost: new AbortController().signal,
      onSteps: steps => { printSteps(steps, printed, progress) },
      log: noLog
    })
    if (isEmpty(undo.read())) await rm(path, { force: true })
    else progress('Not everything is put back; check this address again once the server answers.')
    return report
  } catch (error) {
    return messageOf(error)
  } finally {
    await client.close()
    await calls.close()
  }
}

/** Prints each step once it is finished. */
function printSteps (steps: readonly ServerCheckStep[], printed: Set<string>, progress: (line: string) => void): void {
  for (const { name, title, state, duration_ms: ms } of steps) {
    if (state === 'waiting' || state === 'running' || printed.has(name)) continue
    printed.add(name)
    progress(`${title}: ${state === 'not_found_out' ? 'not found out' : state}${ms === null ? '' : `, ${ms} ms`}`)
  }
}

/** Reserves the address for this process; returns the record that a killed one has left. */
async function claim (path: string): Promise<UndoRecord | 'running'> {
  const own = JSON.stringify({ process: identify(process.pid) ?? null, undo: nothingToUndo } satisfies CheckFile)
  try {
    const file = await open(path, 'wx', 0o600)
    await file.writeFile(own)
    await file.close()
    return nothingToUndo
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
  }
  const found = await readFile(path, 'utf8').then(text => JSON.parse(text) as CheckFile).catch(() => null)
  if (found !== null && found.process !== null && !hasEnded(found.process)) return 'running'
  const undo = found?.undo ?? nothingToUndo
  await write(path, undo)
  return undo
}

function notesIn (path: string): UndoNotes {
  let record = nothingToUndo
  return {
    read: () => record,
    async write (next) {
      await write(path, next)
      record = next
    }
  }
}

/** Whole or not at all, whenever this process ends. */
async function write (path: string, undo: UndoRecord): Promise<void> {
  const file: CheckFile = { process: identify(process.pid) ?? null, undo }
  await writeFile(`${path}.new`, JSON.stringify(file), { mode: 0o600, flush: true })
  await rename(`${path}.new`, path)
}

async function titleOf (client: ReturnType<typeof createA1111Client>, wanted: string): Promise<string> {
  const found = findCheckpoint(wanted, { checkpoints: await readCheckpoints(client) })
  if (found === null) throw new Error(`The server has no checkpoint "${wanted}".`)
  return found.title
}

/** Options of `stablequeue doctor --thorough`. */
export interface ThoroughOptions {
  /** Alias or address. */
  readonly server: string
  readonly checkpoint: string | null
  readonly minutes: number | null
  /** Address of the service; empty for the one of the settings. */
  readonly service: string
  /** For the header Authorization; null to use the rights of this machine. */
  readonly authorization: string | null
}

interface ThoroughDependencies {
  readonly config: Config
  /** Aliases and addresses of servers that a running Redis knows. */
  readonly registered: () => Promise<ReadonlyArray<{ readonly alias: string, readonly url: string }>>
  /** Receives one line of progress. */
  readonly progress: (line: string) => void
  /** Receives the report as text, or as JSON. */
  readonly print: (report: string) => void
  /** Ends the check; everything is put back. */
  readonly cancelled: AbortSignal
}

/** 0: no harm found. 1: harm found. 2: usage. 3: it could not run. 4: it was cancelled, or ended early. */
export type ThoroughExit = 0 | 1 | 3 | 4

class CouldNotRun extends Error {}

/** Interval of asking the service for a check's progress, and how long it can be silent, in milliseconds. */
const pollInterval = 500
const patience = 15_000
const maxSilence = 60_000

/**
 * Checks one server thoroughly: through the service if that knows it, else, for an unregistered address, in this
 * process.
 */
export async function runThoroughDoctor (
  options: ThoroughOptions, format: 'text' | 'json', dependencies: ThoroughDependencies
): Promise<ThoroughExit> {
  const { print, progress } = dependencies
  try {
    const report = /^https?:\/\//i.test(options.server)
      ? await checkAddress(options, dependencies)
      : await checkThroughService(options.server, options, dependencies)
    if (report.outcome === 'could_not_run') progress(report.reason ?? 'It could not run.')
    print(format === 'json' ? JSON.stringify(report, null, 2) : reportText(report))
    return exitOf(report)
  } catch (error) {
    if (!(error instanceof CouldNotRun || error instanceof ServiceError)) throw error
    progress(error.message)
    return 3
  }
}

function exitOf ({ outcome, verdict }: ServerCheckReport): ThoroughExit {
  if (outcome === 'could_not_run') return 3
  if (outcome !== 'finished') return 4
  return verdict === 'harm' ? 1 : 0
}

/** The service checks its own servers, since it sends jobs there. */
async function checkAddress (options: ThoroughOptions, dependencies: ThoroughDependencies): Promise<ServerCheckReport> {
  const address = parseServerUrl(options.server, '--server')
  const known = await knownToService(options, dependencies)
  const alias = (known ?? await dependencies.registered()).find(({ url }) => url === address.baseUrl)?.alias
  if (alias !== undefined) {
    if (known !== null) return await checkThroughService(alias, options, dependencies)
    throw new CouldNotRun(`That address is registered as ${alias}, so its checks go through the service, which does not ` +
      `answer at ${serviceUrl(options, dependencies.config)}. Start it, or name it with --service URL.`)
  }
  dependencies.progress('This address belongs to no registered server; it is checked directly and not registered.')
  const result = await checkAddressDirectly(address, options, dependencies)
  if (typeof result === 'string') throw new CouldNotRun(result)
  return result
}

/** Null if no service answers. */
async function knownToService (options: ThoroughOptions, { config }: ThoroughDependencies) {
  const servers = await call<ServerView[]>('GET', '/api/v1/servers', options, config).catch(error => {
    if (error instanceof NoService) return null
    throw error
  })
  return servers?.map(({ alias, apiUrl }) => ({ alias, url: apiUrl })) ?? null
}

async function checkThroughService (
  alias: string, options: ThoroughOptions, { config, progress, cancelled }: ThoroughDependencies
): Promise<ServerCheckReport> {
  const path = `/api/v2/servers/${encodeURIComponent(alias)}/check`
  const body = {
    ...options.checkpoint === null ? {} : { checkpoint: options.checkpoint },
    ...options.minutes === null ? {} : { minutes: options.minutes }
  }
  const first = await call<ServerCheckView>('POST', path, options, config, body)
  const id = first.check?.id
  const printed = new Set<string>()
  let isCancelling = false
  let heardAt = performance.now()
  for (;;) {
    if (cancelled.aborted && !isCancelling) {
      isCancelling = true
      progress('Cancelling; everything is put back.')
      await call('DELETE', path, options, config).catch(() => undefined)
    }
    const view = await call<ServerCheckView>('GET', path, options, config).catch(error => {
      // It can be restarting; the process that serves the server then puts everything back.
      if (!(error instanceof NoService) || performance.now() - heardAt > maxSilence) throw error
      return null
    })
    if (view !== null) {
      heardAt = performance.now()
      printSteps(view.check?.steps ?? [], printed, progress)
      if (view.check?.state === 'ended' && view.report !== null && view.report.id === id) return view.report
      if (view.check === null || view.check.id !== id) {
        throw new CouldNotRun('No worker took up the check; is the server enabled, and does a worker run?')
      }
    }
    await sleep(pollInterval)
  }
}

class NoService extends CouldNotRun {}

function serviceUrl ({ service }: ThoroughOptions, { HOST, PORT }: Pick<Config, 'HOST' | 'PORT'>): string {
  if (service !== '') return service
  const host = ['0.0.0.0', '::'].includes(HOST) ? '127.0.0.1' : HOST.includes(':') ? `[${HOST}]` : HOST
  return `http://${host}:${PORT}`
}

async function call<Answer> (
  method: 'GET' | 'POST' | 'DELETE', path: string, options: ThoroughOptions, config: Config, body?: object
): Promise<Answer> {
  const base = serviceUrl(options, config)
  if (!URL.canParse(base)) throw new UsageError('--service must be an address such as http://127.0.0.1:3000.')
  const http = createHttpClient({ connectTimeoutMs: patience, tls: {} })
  try {
    return await withDeadline(patience, [], async signal => {
      const answer = await http.request({
        url: new URL(base.replace(/\/$/, '') + path),
        method,
        headers: {
          accept: 'application/json',
          ...options.authorization === null ? {} : { authorization: options.authorization },
          ...body === undefined ? {} : { 'content-type': 'application/json' }
        },
        ...body === undefined ? {} : { body: JSON.stringify(body) },
        signal
      }).catch(error => {
        throw new NoService(`No service answers at ${base} (${messageOf(error)}). Checks of registered servers go through ` +
          'it: start it with `stablequeue start`, or name it with --service URL.', { cause: error })
      })
      return readAnswer<Answer>(answer.statusCode, await text(answer.body), base)
    })
  } finally {
    await http.close()
  }
}

function readAnswer<Answer> (status: number, text: string, base: string): Answer {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new CouldNotRun(`What answers at ${base} is not StableQueue (status ${status}).`)
  }
  if (status < 300) return json as Answer
  const { message = 'no reason given', error: code } = json as { message?: string, error?: string }
  const help = status === 401 || status === 403
    ? ' Give an access key with servers:admin by --key KEY:SECRET, or the admin token by --token or ADMIN_TOKEN.'
    : ''
  if (code === 'server_not_found') {
    throw new CouldNotRun(`${message} An address begins with http:// or https://; one that is not registered is checked directly.`)
  }
  throw new CouldNotRun(`The service rejects the request (status ${status}): ${message}${help}`)
}
