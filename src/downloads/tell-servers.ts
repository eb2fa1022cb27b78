import type { A1111Client } from '../a1111/client.ts'
import { messageOf } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Catalogue } from '../models/catalogue.ts'
import type { ModelType } from '../models/model.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import type { Server } from '../servers/server.ts'

export interface TellServersDependencies {
  readonly registry: ServerRegistry
  readonly catalogue: Catalogue
  readonly connect: (server: Server) => A1111Client
  readonly log: Log
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

/**
 * Lets the servers that share a folder read it anew: those that report a model which lies in it. One that cannot do so
 * finds the file when it next starts.
 */
export async function tellServers (
  type: ModelType, root: string, { registry, catalogue, connect, log }: TellServersDependencies
): Promise<void> {
  const path = refreshPaths[type]
  if (path === undefined) return
  const { models } = await catalogue.state()
  const sharing = new Set(models.filter(({ files }) => files.some(file => file.root === root))
    .flatMap(({ reported }) => reported.map(({ serverId }) => serverId)))
  await Promise.all([...sharing].map(async id => {
    const server = registry.byId(id)
    if (server === undefined) return
    const client = connect(server)
    try {
      await client.postJson(path, {}, { timeoutMs })
    } catch (error) {
      log.warn({ server: server.alias, error: messageOf(error) }, 'could not let the server read its folders anew')
    } finally {
      await client.close()
    }
  }))
}
