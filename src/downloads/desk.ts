import type { CivitaiClient } from '../civitai/client.ts'
import { ServiceError } from '../errors.ts'
import type { ModelFolder } from '../models/folders.ts'
import type { Download, DownloadOrder, DownloadStore } from './download.ts'
import { discard, partOf } from './receive.ts'
import { orderFromCivitai, orderFromHuggingFace, type DownloadWish } from './source.ts'
import { targetFor } from './target.ts'

/** What callers do with downloads. Everything throws ServiceError. */
export interface DownloadDesk {
  readonly store: DownloadStore
  fromCivitai (versionId: number, wish: Omit<DownloadWish, 'pickles'>): Promise<Download>
  /** @param source like `hf:owner/repository@revision/path` */
  fromHuggingFace (source: string, wish: Omit<DownloadWish, 'pickles'>): Promise<Download>
  cancel (id: string): Promise<void>
  /** Lets a failed or cancelled one begin again. */
  retry (id: string): Promise<void>
}

export interface DownloadDeskDependencies {
  readonly store: DownloadStore
  readonly civitai: CivitaiClient
  readonly folders: readonly ModelFolder[]
  readonly huggingFaceUrl: string
  readonly pickles: DownloadWish['pickles']
  readonly enqueue: (download: Pick<Download, 'id' | 'round'>) => Promise<void>
}

export function createDownloadDesk (dependencies: DownloadDeskDependencies): DownloadDesk {
  const { store, civitai, folders, huggingFaceUrl, pickles, enqueue } = dependencies

  async function begin (order: DownloadOrder): Promise<Download> {
    await targetFor(order.type, folders)
    const download = await store.create(order)
    await enqueue(download)
    return download
  }

  return {
    store,
    async fromCivitai (versionId, wish) {
      return await begin(await orderFromCivitai(civitai, versionId, { ...wish, pickles }))
    },
    async fromHuggingFace (source, wish) {
      return await begin(orderFromHuggingFace(huggingFaceUrl, source, { ...wish, pickles }))
    },
    async cancel (id) {
      const download = await store.require(id)
      const done = await store.move({ id }, ['pending', 'downloading'], 'cancelled', { endedAt: Date.now() })
      if (!done) throw wrongState(download, 'has finished and cannot be cancelled')
      if (download.status !== 'pending') return
      const { folder } = await targetFor(download.type, folders)
      await discard(partOf(download, folder))
    },
    async retry (id) {
      const download = await store.require(id)
      const done = await store.move(download, ['failed', 'cancelled'], 'pending', { problem: null, endedAt: null })
      if (!done) throw wrongState(download, 'has neither failed nor been cancelled')
      await enqueue(download)
    }
  }
}

function wrongState ({ filename }: Download, what: string): ServiceError {
  return new ServiceError('download_operation_invalid', `The download of ${filename} ${what}.`)
}
