import type { Server, ServerState } from './server.ts'
import type { ServerStateStore } from './state-store.ts'

/** A server as it stands when a job without a target looks for one. */
export interface Candidate {
  readonly server: Server
  readonly state: ServerState | null
  readonly waiting: number
}

/**
 * Servers for a job that names none, best first: reachable before silent, then the shortest line. The simulator is
 * offered only where there is no other enabled server, as nobody wants its paintings instead of theirs.
 */
function rankCandidates (candidates: readonly Candidate[]): Candidate[] {
  const enabled = candidates.filter(({ server }) => server.enabled)
  const real = enabled.filter(({ server, state }) => !isSimulator(server, state))
  return (real.length > 0 ? real : enabled).toSorted((one, other) =>
    standing(one) - standing(other) || one.waiting - other.waiting || one.server.createdAt - other.server.createdAt)
}

/** The servers as they stand now, ranked. @param waitingOn how many jobs wait for a server */
export async function readCandidates (
  servers: readonly Server[], states: ServerStateStore, waitingOn: (serverId: string) => Promise<number>
): Promise<Candidate[]> {
  const known = await states.readMany(servers.map(({ id }) => id))
  const waiting = await Promise.all(servers.map(async ({ id }) => await waitingOn(id)))
  return rankCandidates(servers.map((server, index) => ({
    server, state: known[index] ?? null, waiting: waiting[index] ?? 0
  })))
}

/** Whether no real Stable Diffusion server answers there. */
export function isSimulator (server: Server, state: ServerState | null): boolean {
  return server.origin === 'simulator' || state?.traits?.kind === 'simulator'
}

function standing ({ server, state }: Candidate): number {
  if (server.paused) return 2
  return state?.reachable === 'yes' ? 0 : 1
}
