import type { A1111Client } from '../a1111/client.ts'
import { withDeadline } from '../lib/deadline.ts'
import type { Log } from '../log.ts'
import type { ModelType } from '../models/model.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import type { Server } from '../servers/server.ts'
import type { Turns } from '../servers/turns.ts'

export interface TellServersDependencies {
  readonly registry: Pick<ServerRegistry, 'byId'>
  readonly catalogue: { state (): Promise<{ readonly models: readonly KnownFrom[] }> }
  readonly turns: Pick<Turns, 'take'>
  readonly connect: (server: Server) => A1111Client
  readonly log: Log
}

/** The folders that a model lies in, and the servers that report it. */
interface KnownFrom {
  readonly files: ReadonlyArray<{ readonly root: string }>
  readonly reported: ReadonlyArray<{ readonly serverId: string }>
}

/** What makes A1111 and Forge read their folders anew. */
const refreshPaths: Readonly<Partial<Record<ModelType, string>>> = {
  checkpoint: '/sdapi/v1/refresh-checkpoints',
  lora: '/sdapi/v1/refresh-loras',
  vae: '/sdapi/v1/refresh-vae',
  embedding: '/sdapi/v1/refresh-embeddings'
}

/** Reading thousands of files takes its time, in milliseconds. */
const timeoutMs = 60_000

/** How long a turn is waited for, in milliseconds: a server that is paused or away gives none. */
const patienceMs = 600_000

/**
 * Lets the servers that share a folder read it anew, in turn with their generations: those that report a model which
 * lies in it. One that gives no turn for ten minutes is told without; one that cannot be told finds the file when it
 * next starts.
 */
export async function tellServers (
  type: ModelType, root: string, dependencies: TellServersDependencies, signal: AbortSignal
): Promise<void> {
  const { registry, catalogue, turns, connect, log } = dependencies
  const path = refreshPaths[type]
  if (path === undefined) return
  const { models } = await catalogue.state()
  const sharing = new Set(models.filter(({ files }) => files.some(file => file.root === root))
    .flatMap(({ reported }) => reported.map(({ serverId }) => serverId)))
  await Promise.all([...sharing].map(async id => {
    const server = registry.byId(id)
    if (server === undefined) return
    const endTurn = await withDeadline(patienceMs, [signal], async inTime => await turns.take(id, inTime))
      .catch(() => null)
    if (signal.aborted) return await endTurn?.()
    const client = connect(server)
    try {
      await client.postJson(path, {}, { timeoutMs })
    } catch (error) {
      log.warn({ server: server.alias, err: error }, 'the server could not reload its folders')
    } finally {
      await endTurn?.()
      await client.close()
    }
  }))
}
