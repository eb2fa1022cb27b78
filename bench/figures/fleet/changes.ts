import { setTimeout as sleep } from 'node:timers/promises'
import { type AcceptedJob, type Fleet, withFleet } from '../../environment/fleet.ts'
import type { FleetGeneration, FleetTimes } from '../../environment/fleet-process.ts'
import { until } from '../../environment/until.ts'
import type { Row } from '../../table.ts'
import { checkpointNames, equalServers, sameJobs, teach } from './traces.ts'

export const about = 'jobs stranded or doubled where a server dies, is paused, joins or is drained'

const count = 4
const jobCount = 60
const times: FleetTimes = { step: 400 / 9, load: 250 }
const checkpoint = checkpointNames(1)
/** Jobs that have begun when it happens. */
const begunBefore = 12
/** Milliseconds in which nothing begins or ends after which the jobs that still wait count as stranded. */
const quiet = 12_000

interface Change {
  readonly name: string
  /** @returns false where this version of the service has no such thing */
  happen (fleet: Fleet): Promise<boolean>
  /** Further words on what was measured. */
  told? (ran: readonly FleetGeneration[]): string
}

const changes: readonly Change[] = [
  { name: 'a server dies', happen: async fleet => { await fleet.die('S0'); return true } },
  { name: 'a server is paused', happen: async fleet => { await fleet.pause(['S0']); return true } },
  {
    name: 'a server joins',
    happen: async fleet => {
      await fleet.join({ alias: 'S4', speed: 1, checkpoints: checkpoint })
      return true
    },
    told: ran => `, ${ran.filter(({ server }) => server === 'S4').length} at the new one`
  },
  { name: 'a server is drained', happen: async fleet => await drain(fleet, 'S0') }
]

/** In the middle of a trace of jobs that name no server. */
export async function measure (): Promise<Row[]> {
  const rows: Row[] = []
  for (const change of changes) rows.push(await measureChange(change))
  return rows
}

async function measureChange ({ name, happen, told }: Change): Promise<Row> {
  const servers = equalServers(count, checkpoint)
  return await withFleet({ servers, times }, async fleet => {
    await teach(fleet)
    const aliases = servers.map(({ alias }) => alias)
    await fleet.pause(aliases)
    const jobs = await fleet.submit(sameJobs(jobCount, checkpoint[0] ?? ''))
    await fleet.resume(aliases)
    await until(async () => (await fleet.ran()).length >= begunBefore, `${begunBefore} jobs have begun`)
    const figure = `fleet: ${name} while ${jobCount} jobs wait`
    const goal = 'stranded 0, doubled 0'
    const nothing = { figure, limit: '', ratio: '', goal }
    if (!await happen(fleet)) return { ...nothing, measured: 'this version cannot drain a server', ok: null }
    await untilQuiet(fleet)
    const ran = await fleet.ran()
    const stranded = await fleet.unfinished()
    const doubled = doubledOf(jobs, ran)
    return {
      ...nothing,
      measured: `stranded ${stranded}, doubled ${doubled}${told?.(ran) ?? ''}`,
      ok: stranded === 0 && doubled === 0 && (told === undefined || ran.some(({ server }) => server === 'S4'))
    }
  })
}

/** Until all jobs have ended, or none has begun or ended for a while. */
async function untilQuiet (fleet: Fleet): Promise<void> {
  let last = ''
  for (let since = performance.now(); performance.now() - since < quiet; await sleep(100)) {
    if (await fleet.unfinished() === 0) return
    const now = (await fleet.ran()).map(({ jobId, outcome }) => `${jobId} ${outcome}`).join()
    if (now !== last) since = performance.now()
    last = now
  }
}

/** Jobs that were generated to the end more than once. */
function doubledOf (jobs: readonly AcceptedJob[], ran: readonly FleetGeneration[]): number {
  return jobs.filter(({ id }) => ran.filter(({ jobId, outcome }) => jobId === id && outcome === 'done').length > 1).length
}

async function drain (fleet: Fleet, alias: string): Promise<boolean> {
  try {
    await fleet.caller.post(`/api/v1/servers/${alias}/drain`)
    return true
  } catch (error) {
    if (/: 404 /.test(String(error))) return false
    throw error
  }
}
