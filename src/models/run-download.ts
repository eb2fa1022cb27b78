import { readdir, stat } from 'node:fs/promises'
import { relative } from 'node:path'
import type { A1111Client } from '../a1111/client.ts'
import { type EgressGuard, EgressRefusal } from '../egress/guard.ts'
import { anySignal, withDeadline } from '../lib/deadline.ts'
import { messageOf } from '../lib/errors.ts'
import type { Log } from '../lib/logging.ts'
import type { ModelType } from '../model-facts/facts.ts'
import type { ExclusiveCalls } from '../servers/exclusive-calls.ts'
import type { Server, ServerRegistry } from '../servers/registry.ts'
import type { Catalogue } from './catalogue.ts'
import { type Target, targetFor } from './download-service.ts'
import type { Download, DownloadChange, DownloadStore } from './download.ts'
import type { Hasher, ModelFileStore } from './file-store.ts'
import { isLycorisPath, type ModelFolder } from './folders.ts'
import { inspectFile } from './inspect.ts'
import { discard, FinalFailure, openSource, partOf, receiveFile } from './receive-download.ts'
import type { ModelRefresher } from './refresh.ts'
import { folderNames } from './walk.ts'

export interface DownloaderDependencies {
  readonly store: DownloadStore
  readonly guard: Pick<EgressGuard, 'client'>
  readonly folders: readonly ModelFolder[]
  readonly files: ModelFileStore
  readonly catalogue: Catalogue
  readonly refresher: ModelRefresher
  readonly hasher: Hasher
  readonly log: Log
  /** By source: its origin and our key, which can be empty. */
  readonly sources: Readonly<Record<Download['source'], { readonly origin: string, readonly key: string }>>
  /** Has servers that share the folder reload it, without waiting for them. */
  readonly refreshServerLists: (type: Download['type'], root: string) => void
}

/** Interval of progress updates, which is also the delay of a cancellation, in milliseconds. */
const reportInterval = 500

/**
 * One attempt at a download of that round. Resolves when it is completed, or was cancelled meanwhile.
 * @throws FinalFailure, or an Error that another attempt can avoid; the signal's reason when it was aborted
 */
export async function runDownload (
  { id, round }: Pick<Download, 'id' | 'round'>, dependencies: DownloaderDependencies, closing: AbortSignal
): Promise<void> {
  const { store, guard, folders, hasher, sources } = dependencies
  if (!await store.move({ id, round }, ['pending', 'downloading'], 'downloading')) return
  const download = { ...await store.require(id), round }
  const target = await targetFor(download.type, folders).catch(error => { throw new FinalFailure(messageOf(error)) })
  const { origin, key } = sources[download.source]
  const setting = download.source === 'civitai' ? 'CIVITAI_API_KEY' : 'HUGGINGFACE_TOKEN'
  const loginHint = key === '' ? `a key is needed: set ${setting}` : `the key in ${setting} has no access to it`
  const cancelled = new AbortController()
  const { signal, clear } = anySignal(closing, cancelled.signal)
  let reportedAt = -Infinity
  const confirm = async (change: DownloadChange = {}) => {
    if (await store.move(download, ['downloading'], 'downloading', change)) return
    cancelled.abort()
    signal.throwIfAborted()
  }
  try {
    const received = await receiveFile({
      download,
      folder: target.folder,
      hasher,
      signal,
      loginHint,
      openFrom: async (from, ifRange) => {
        const url = new URL(download.url)
        // the key goes to the source itself, whatever address its answer names
        const authorization = key !== '' && url.origin === origin ? `Bearer ${key}` : null
        return await openSource(guard, {
          url,
          authorization,
          from,
          loginHint,
          trustedOrigins: [origin],
          signal,
          ...(ifRange === undefined ? {} : { ifRange })
        })
      },
      async onProgress (bytes, size) {
        if (performance.now() - reportedAt < reportInterval) return
        reportedAt = performance.now()
        await confirm({ received: bytes, size })
      },
      confirm
    })
    const { size } = await stat(received.path)
    await enterCatalogue(download, target, received, dependencies)
    await store.move(download, ['downloading'], 'completed', { received: size, size, problem: null, endedAt: Date.now() })
    dependencies.refreshServerLists(download.type, target.root)
  } catch (error) {
    if (error instanceof FinalFailure || error instanceof EgressRefusal) await discard(partOf(download, target.folder))
    if (!cancelled.signal.aborted) throw error
    await discard(partOf(download, target.folder))
  } finally {
    clear()
  }
}

/** Removes the part of a download without further attempts. */
export async function discardPart (
  { id, round }: Pick<Download, 'id' | 'round'>, { store, folders }: Pick<DownloaderDependencies, 'store' | 'folders'>
): Promise<void> {
  const download = await store.require(id)
  const { folder } = await targetFor(download.type, folders)
  await discard(partOf({ ...download, round }, folder))
}

/** The model is listed at once, with Civitai's facts if it came from there. */
async function enterCatalogue (
  { type, versionId }: Download, { folder, root }: Target,
  { path, sha256, autoV3 }: { path: string, sha256: string, autoV3: string | null },
  { files, catalogue, refresher, log }: DownloaderDependencies
): Promise<void> {
  const neighbours = await readdir(folder)
  const file = await inspectFile({
    absolutePath: path,
    root,
    path: relative(folder, path),
    type,
    lycoris: isLycorisPath(path),
    stats: await stat(path),
    neighbours
  }, folderNames(neighbours), undefined)
  await files.write([{ ...file, sha256, autoV3: type === 'lora' ? autoV3 : null }])
  if (versionId === null) return
  const { models } = await catalogue.state()
  const model = models.find(known => known.files.some(({ absolutePath }) => absolutePath === path))
  try {
    if (model !== undefined) await refresher.refresh(model, { versionId, freshness: 'kept' })
  } catch (error) {
    log.warn({ model: file.path, err: error }, 'downloaded, but Civitai could not be asked about it')
  }
}

export interface RefreshServerListsDependencies {
  readonly registry: Pick<ServerRegistry, 'byId'>
  readonly catalogue: { state (): Promise<{ readonly models: readonly KnownFrom[] }> }
  readonly exclusiveCalls: Pick<ExclusiveCalls, 'take'>
  readonly connect: (server: Server) => A1111Client
  readonly log: Log
}

/** The folders that a model lies in, and the servers that report it. */
interface KnownFrom {
  readonly files: ReadonlyArray<{ readonly root: string }>
  readonly reported: ReadonlyArray<{ readonly serverId: string }>
}

/** Calls that make A1111 and Forge reload their folders. */
const refreshPaths: Readonly<Partial<Record<ModelType, string>>> = {
  checkpoint: '/sdapi/v1/refresh-checkpoints',
  lora: '/sdapi/v1/refresh-loras',
  vae: '/sdapi/v1/refresh-vae',
  embedding: '/sdapi/v1/refresh-embeddings'
}

/** Reading thousands of files takes time, in milliseconds. */
const timeoutMs = 60_000

/** How long to wait for an exclusive call, in milliseconds: a server that is paused or away grants none. */
const patienceMs = 600_000

/**
 * Lets the servers that share a folder reload it, one call at a time with their generations: the servers that report a
 * model in it. A server that grants nothing for ten minutes is called anyway; one that is unreachable finds the file
 * when it next starts.
 */
export async function refreshServerLists (
  type: ModelType, root: string, dependencies: RefreshServerListsDependencies, signal: AbortSignal
): Promise<void> {
  const { registry, catalogue, exclusiveCalls, connect, log } = dependencies
  const path = refreshPaths[type]
  if (path === undefined) return
  const { models } = await catalogue.state()
  const sharing = new Set(models.filter(({ files }) => files.some(file => file.root === root))
    .flatMap(({ reported }) => reported.map(({ serverId }) => serverId)))
  await Promise.all([...sharing].map(async id => {
    const server = registry.byId(id)
    if (server === undefined) return
    const release = await withDeadline(patienceMs, [signal], async inTime => await exclusiveCalls.take(id, inTime))
      .catch(() => null)
    if (signal.aborted) return await release?.()
    const client = connect(server)
    try {
      await client.postJson(path, {}, { timeoutMs })
    } catch (error) {
      log.warn({ server: server.alias, err: error }, 'the server could not reload its folders')
    } finally {
      await release?.()
      await client.close()
    }
  }))
}
