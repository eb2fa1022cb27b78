import type { ServerView } from '../../schemas/server.ts'
import { type Output, printJson, tableOf } from './output.ts'
import { type Service, ServiceFailure } from './service.ts'

interface JsonOption { readonly json?: boolean }

/** Lists the servers. */
export async function listServers (service: Service, { json = false }: JsonOption, output: Output): Promise<number> {
  const servers = await service.ask('GET', '/api/v1/servers') as ServerView[]
  if (json) {
    printJson(output, servers)
    return 0
  }
  const rows = servers.map(server => [
    server.alias, stateOf(server), String(server.waiting), String(server.processing), server.loaded_checkpoint ?? '', server.apiUrl
  ])
  output.out(servers.length === 0
    ? 'There is no server. Add one: stablequeue servers add Big http://192.168.1.10:7860\n'
    : tableOf(['ALIAS', 'STATE', 'WAITING', 'RUNNING', 'CHECKPOINT', 'ADDRESS'], rows, output.width))
  return 0
}

function stateOf ({ health, paused, draining, drained, checked_at: checked }: ServerView): string {
  if (drained) return 'drained'
  if (draining) return 'draining'
  if (paused) return 'paused'
  return health === 'offline' && checked === null ? 'not seen yet' : health
}

export interface NewServer extends JsonOption {
  readonly username?: string
  readonly password?: string
  readonly bearer?: string
  readonly description?: string
}

/** Adds a server, and says whether it answers. */
export async function addServer (
  service: Service, alias: string, url: string, { json = false, ...more }: NewServer, output: Output
): Promise<number> {
  await service.ask('POST', '/api/v1/servers', { alias, apiUrl: url, ...more })
  const { server, reachable, message } = await service.ask('POST', `${pathOf(alias)}/test`) as {
    readonly server: ServerView, readonly reachable: boolean, readonly message: string
  }
  if (json) printJson(output, server)
  else output.out(`Added ${server.alias}.\n`)
  if (!reachable) output.note(`It does not answer yet: ${message}\n`)
  return 0
}

const changed = {
  pause: 'is paused', resume: 'takes jobs', drain: 'finishes what runs and begins nothing more'
} as const

/** Pauses, resumes or drains a server. */
export async function changeServer (
  service: Service, action: 'pause' | 'resume' | 'drain', alias: string,
  { json = false, reason }: JsonOption & { readonly reason?: string }, output: Output
): Promise<number> {
  const answer = await service.ask('POST', `${pathOf(alias)}/${action}`, ...reason === undefined ? [] : [{ reason }]) as { server: ServerView }
  if (json) printJson(output, answer.server)
  else output.out(`${answer.server.alias} ${changed[action]}.\n`)
  return 0
}

export interface RemovedServer extends JsonOption {
  readonly cancelJobs?: boolean
  /** Alias of the server that gets its jobs, or `auto`. */
  readonly moveTo?: string
}

/** Removes a server; one that has jobs only with a decision about them. */
export async function removeServer (
  service: Service, alias: string, { json = false, cancelJobs = false, moveTo }: RemovedServer, output: Output
): Promise<number> {
  const query = moveTo !== undefined ? `?jobs=move&to=${encodeURIComponent(moveTo)}` : cancelJobs ? '?jobs=cancel' : ''
  const answer = await service.ask('DELETE', pathOf(alias) + query).catch((error: unknown) => {
    if (query === '' && error instanceof ServiceFailure && error.status === 409) {
      output.note('Say what happens to its jobs: --cancel-jobs, --move-to <alias>, or --move-to auto for any server.\n')
    }
    throw error
  }) as { readonly message: string }
  if (json) printJson(output, answer)
  else output.out(`${answer.message}\n`)
  return 0
}

const pathOf = (alias: string) => `/api/v1/servers/${encodeURIComponent(alias)}`
