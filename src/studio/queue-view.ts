import type { StudioQueue } from '../../schemas/studio-queue.ts'
import type { Estimates } from '../jobs/estimates.ts'
import type { ServerRegistry } from '../servers/registry.ts'

/** How much there is to do, for everybody alike. */
export async function studioQueue (
  { registry, estimates }: { readonly registry: Pick<ServerRegistry, 'list'>, readonly estimates: Pick<Estimates, 'line'> }
): Promise<StudioQueue> {
  const servers = await Promise.all(registry.list().filter(({ enabled }) => enabled).map(async ({ id, alias }) => {
    const { waiting, running, seconds } = await estimates.line(id)
    return { alias, waiting, running, estimated_wait_time: seconds === null ? null : Math.ceil(seconds) }
  }))
  const sum = (name: 'waiting' | 'running') => servers.reduce((total, server) => total + server[name], 0)
  const waits = servers.flatMap(server => server.estimated_wait_time ?? [])
  return {
    position: servers.length === 0 ? 1 : Math.min(...servers.map(({ waiting }) => waiting)) + 1,
    total_jobs: sum('waiting') + sum('running'),
    waiting: sum('waiting'),
    running: sum('running'),
    estimated_wait_time: waits.length === 0 ? null : Math.min(...waits),
    servers
  }
}
