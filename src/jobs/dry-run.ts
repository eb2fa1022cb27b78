import type { Seed } from '../lib/seeds.ts'
import { isSeed } from '../lib/seeds.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import type { Estimates, Outlook } from './estimates.ts'
import { aliasOf, type JobWarning } from './job.ts'
import { needsOf } from './needs.ts'
import type { CheckedSubmission } from './submit.ts'
import { type WorkPrediction, workloadOf } from './workload.ts'

/** What a submission would lead to. */
export interface DryRun extends Outlook {
  /** Alias of the server that is expected to run it; `default` if that cannot be said. */
  readonly alias: string
  /** Aliases of the servers that can run it. */
  readonly servers: readonly string[]
  readonly seed: Seed | null
  readonly warnings: readonly JobWarning[]
}

export interface DryRunDependencies {
  readonly registry: Pick<ServerRegistry, 'list' | 'byId'>
  readonly estimates: Pick<Estimates, 'preview'>
  readonly work: WorkPrediction
}

/** Says where and when a checked submission would run, without queueing it. */
export async function dryRun (
  { request, target, lacking, normalised, compatibility, webhook }: CheckedSubmission,
  { registry, estimates, work }: DryRunDependencies
): Promise<DryRun> {
  const { parameters, checkpointTitle } = compatibility
  const { mode, checkpoint } = normalised
  const workload = workloadOf({ mode, parameters, checkpoint, checkpointTitle })
  const { serverId, ...outlook } = await estimates.preview({
    share: request.keyId ?? '',
    priority: request.priority,
    needs: needsOf({ checkpoint, onMissing: request.onMissing }, target?.id ?? '', { lacking }),
    workload,
    workMs: await work.milliseconds(workload)
  })
  const able = target === null
    ? registry.list().filter(({ id, enabled }) => enabled && !lacking.includes(id))
    : [target]
  return {
    ...outlook,
    alias: aliasOf(registry, serverId ?? target?.id ?? ''),
    servers: able.map(({ alias }) => alias),
    seed: isSeed(parameters.seed) ? parameters.seed : null,
    warnings: [
      ...normalised.warnings, ...compatibility.warnings, ...webhook?.warnings ?? [], ...request.warnings ?? []
    ]
  }
}
