import { rulesOf } from '../a1111/kinds/registry.ts'
import { bareName } from '../a1111/names.ts'
import { baseModelOf } from '../model-facts/base-models.ts'
import type { Warning } from '../../schemas/generation-parameters.ts'
import type { Server, ServerRegistry, ServerState } from './registry.ts'
import type { ServerStateStore } from './state-store.ts'

/** Names by which requests leave the choice of the server to us. */
const anyServer = new Set(['', 'auto', 'default'])

/**
 * The server that a request names for its work; null for any. A server that is really called `auto` or `default` goes
 * by its name.
 * @param field input that names the server
 * @throws ServiceError `server_not_found`
 */
export function serverNamed (
  registry: Pick<ServerRegistry, 'byAlias' | 'require'>, name: string, field?: string
): Server | null {
  const known = registry.byAlias(name)
  if (known === undefined && anyServer.has(name.trim().toLowerCase())) return null
  return known ?? registry.require(name, field)
}

/** A server's current state for the choice of a job without a target. */
export interface Candidate {
  readonly server: Server
  readonly state: ServerState | null
  readonly waiting: number
}

/**
 * Servers for a job that names none, best first: those that can load its checkpoint, reachable before silent, paused
 * and draining ones, then the shortest queue. The simulator counts only until another enabled server has answered,
 * since its images are only tests.
 */
function rankCandidates (candidates: readonly Candidate[], family: string | null): Candidate[] {
  return serversThatCount(candidates).toSorted((one, other) =>
    Number(isUnsuited(one, family)) - Number(isUnsuited(other, family)) ||
    standing(one) - standing(other) || one.waiting - other.waiting || one.server.createdAt - other.server.createdAt)
}

/**
 * The servers in their current state, ranked.
 * @param waitingOn number of jobs that wait for a server
 * @param checkpoint as the job names it; null where it names none
 */
export async function readCandidates (
  servers: readonly Server[], states: Pick<ServerStateStore, 'readMany'>,
  waitingOn: (serverId: string) => Promise<number>, checkpoint: string | null = null
): Promise<Candidate[]> {
  const known = await states.readMany(servers.map(({ id }) => id))
  const waiting = await Promise.all(servers.map(async ({ id }) => await waitingOn(id)))
  return rankCandidates(servers.map((server, index) => ({
    server, state: known[index] ?? null, waiting: waiting[index] ?? 0
  })), familyOf(checkpoint))
}

/**
 * The enabled servers, without the simulator once a real one has answered. A server that never answered can be a typo:
 * it pushes nothing aside.
 */
export function serversThatCount<Known extends Pick<Candidate, 'server' | 'state'>> (servers: readonly Known[]): Known[] {
  const enabled = servers.filter(({ server }) => server.enabled)
  const real = enabled.filter(({ server, state }) => !isSimulator(server, state))
  return real.some(({ state }) => hasAnswered(state)) ? real : enabled
}

/** The family of a checkpoint's base model; null if its name does not say it, or if there is no name. */
export function familyOf (checkpoint: string | null): string | null {
  return checkpoint === null ? null : baseModelOf(bareName(checkpoint))?.family ?? null
}

/** Whether the server is known to be unable to load such a model, although it can list the file. */
export function isUnsuited ({ state }: Pick<Candidate, 'state'>, family: string | null): boolean {
  const traits = state?.traits ?? null
  const families = traits === null ? null : rulesOf(traits).families
  return family !== null && families !== null && !families.includes(family)
}

/** Whether a server has ever answered. */
export function hasAnswered (state: ServerState | null): boolean {
  return state?.traits != null
}

/** Whether this is a simulator and no real Stable Diffusion server. */
export function isSimulator (server: Server, state: ServerState | null): boolean {
  return server.origin === 'simulator' || state?.traits?.kind === 'simulator'
}

/**
 * Hints for the answer to a submission, not for the job, which outlives them.
 * @param choice `any` if the job names no server, and this one is the best of all
 */
export function hintsAbout (
  { alias, enabled }: Server, state: ServerState | null, choice: 'any' | 'named'
): Warning[] {
  const advice = choice === 'any' ? 'The job waits.' : 'The job waits for it; choose another server, or none, to have it run now.'
  if (!enabled) return [{ code: 'server_disabled', field: 'target_server_alias', message: `${alias} is disabled. ${advice}` }]
  if (state?.reachable === 'yes' || state?.reachable === 'suspected') return []
  const fact = !hasAnswered(state)
    ? `${alias} has not answered yet.`
    : state?.reachable === 'unauthorized' ? `${alias} refuses the stored credentials.` : `${alias} does not answer.`
  return [{
    code: 'server_offline',
    field: 'target_server_alias',
    message: `${choice === 'any' ? 'No server that can run the job is up: ' : ''}${fact} ${advice}`
  }]
}

function standing ({ server, state }: Candidate): number {
  if (server.draining) return 3
  if (server.paused) return 2
  return state?.reachable === 'yes' ? 0 : 1
}
