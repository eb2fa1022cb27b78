import { GenerationFailure, type ImageSink } from '../a1111/types.ts'
import { createDeadline, type Deadline } from '../lib/deadline.ts'
import type { Log } from '../lib/logging.ts'
import { isMoving, type StoredImage } from '../lib/media-types.ts'
import { isSeed } from '../lib/seeds.ts'
import type { StorageCheck } from '../media/storage.ts'
import { storageFaultOf } from '../media/storage-fault.ts'
import type { MediaStore, OutputSink } from '../media/store.ts'
import type { Job, JobImage, JobWarning } from './job.ts'

/** Takes the images of one answer as they arrive. */
export interface ImageCollector {
  createSink (index: number): Promise<ImageSink>
  /** The answer has something at this index that is not base64. */
  lose (index: number, failure: GenerationFailure): void
  /**
   * All images, stored permanently, in the answer's order, and a warning for each entry that is not an image. While
   * they cannot be stored, it waits and keeps them in memory.
   * @param asked how many were requested; null if a script decides
   * @throws ServiceError `storage_full` if that takes too long or the signal is aborted
   * @throws GenerationFailure `corrupt_image` if the answer holds no image
   */
  finish (
    info: Readonly<Record<string, unknown>> | null, asked: number | null, signal: AbortSignal
  ): Promise<CollectedImages>
  /** Removes the stored images. */
  discard (): Promise<void>
}

export interface CollectedImages {
  readonly images: readonly JobImage[]
  readonly warnings: readonly JobWarning[]
}

export type CollectImages = (job: Pick<Job, 'id' | 'submission'>, timestamp: number) => ImageCollector

export interface ImageCollectorDependencies {
  readonly media: Pick<MediaStore, 'createOutputSink' | 'removeOutput'>
  readonly storage: Pick<StorageCheck, 'untilUsable' | 'report' | 'proved'>
  readonly log: Log
}

/** All images that one process keeps in memory because they cannot be stored, in bytes. */
const maxKeptBytes = 128 * 1024 * 1024
/** How long they are kept, in milliseconds. After that the job is generated again once there is space. */
const keptFor = 15 * 60_000

type Stored = Omit<StoredImage, 'role'>

/** Made once: the usual reason of an abort costs a stack trace each time. */
const allDone = new Error('nothing waits for the images')

/** One image: in a sink of the store, or in memory if the sink failed. */
interface Arriving {
  readonly index: number
  sink: OutputSink | null
  readonly kept: Buffer[]
  /** The error of its sink. */
  error: unknown
}

export function createImageCollectors ({ media, storage, log }: ImageCollectorDependencies): CollectImages {
  let keptBytes = 0

  /** Keeps bytes in memory that could not be stored. @throws the reason if memory has no space either */
  function keep (image: Arriving, bytes: Buffer): void {
    if (keptBytes + bytes.length > maxKeptBytes) throw image.error
    keptBytes += bytes.length
    image.kept.push(bytes)
  }

  function letGo (image: Arriving): void {
    for (const bytes of image.kept.splice(0)) keptBytes -= bytes.length
  }

  /**
   * Continues the image in memory, with the bytes that its sink already has. @throws the error if that is impossible
   */
  async function rescue (image: Arriving, error: unknown): Promise<void> {
    const fault = storageFaultOf(error)
    if (fault === null) throw error
    storage.report(fault)
    image.error = error
    const before = await image.sink?.rescue()
    await image.sink?.abort().catch(() => {})
    image.sink = null
    if (before === null) throw error
    if (before !== undefined) keep(image, before)
  }

  return (job, timestamp) => {
    const images: Arriving[] = []
    /** Entries that are not images, by their index in the answer. */
    const lost = new Map<number, GenerationFailure>()
    const { output } = job.submission
    const openSink = async (index: number) => await media.createOutputSink(job.id, index, timestamp, output)

    function sinkOf (image: Arriving): ImageSink {
      return {
        async write (bytes) {
          // Copies are kept: the caller changes these.
          if (image.sink === null) return keep(image, Buffer.from(bytes))
          try {
            await image.sink.write(bytes)
          } catch (error) {
            await rescue(image, error)
            keep(image, Buffer.from(bytes))
          }
        },
        async end () { await image.sink?.end() },
        async abort () {
          letGo(image)
          await image.sink?.abort()
        }
      }
    }

    async function storeKept (image: Arriving): Promise<Stored> {
      const sink = await openSink(image.index)
      try {
        for (const bytes of image.kept) await sink.write(bytes)
        await sink.end()
      } catch (error) {
        await sink.abort()
        throw error
      }
      const stored = await sink.finished
      // From here on the sink owns it, also for `discard`.
      image.sink = sink
      letGo(image)
      return stored
    }

    async function stored (image: Arriving, limit: () => AbortSignal): Promise<Stored> {
      if (image.sink !== null) {
        try {
          const done = await image.sink.finished
          storage.proved()
          return done
        } catch (error) {
          await rescue(image, error)
        }
      }
      log.warn({ job: job.id, image: image.index }, 'an image is kept in memory until it can be stored')
      for (const signal = limit(); ;) {
        await storage.untilUsable(signal)
        if (signal.aborted) throw image.error
        try {
          return await storeKept(image)
        } catch (error) {
          const fault = storageFaultOf(error)
          if (fault === null) throw error
          storage.report(fault)
        }
      }
    }

    /** Null for an entry that is not an image; only that entry is lost. */
    async function storedOrLost (image: Arriving, limit: () => AbortSignal): Promise<Stored | null> {
      if (lost.has(image.index)) return null
      try {
        return await stored(image, limit)
      } catch (error) {
        if (!(error instanceof GenerationFailure) || error.code !== 'corrupt_image') throw error
        letGo(image)
        lost.set(image.index, error)
        return null
      }
    }

    /** Once one image is lost, there is no point in waiting for the others. */
    async function allStored (signal: AbortSignal): Promise<Array<Stored | null>> {
      let over: AbortController | undefined
      let deadline: Deadline | undefined
      let isOver = false
      // Made only when an image waits.
      const limit = () => {
        if (isOver) return AbortSignal.abort(allDone)
        over ??= new AbortController()
        deadline ??= createDeadline(keptFor, signal, over.signal)
        return deadline.signal
      }
      try {
        return await Promise.all(images.map(async image => await storedOrLost(image, limit)))
      } finally {
        isOver = true
        over?.abort(allDone)
        deadline?.clear()
      }
    }

    return {
      async createSink (index) {
        const image: Arriving = { index, sink: null, kept: [], error: null }
        try {
          image.sink = await openSink(index)
        } catch (error) {
          await rescue(image, error)
        }
        images.push(image)
        return sinkOf(image)
      },
      lose (index, failure) { lost.set(index, failure) },
      async finish (info, asked, signal) {
        const all = await allStored(signal)
        const first = Number(info?.index_of_first_image ?? 0)
        const seeds = Array.isArray(info?.all_seeds) ? info.all_seeds as unknown[] : []
        const kept = all.flatMap((image, at) => {
          const index = images[at]?.index ?? at
          if (image === null) return []
          const role = isMoving(image.mime) ? 'image' : roleOf(index, first, asked ?? Math.max(1, seeds.length))
          const seed = role === 'image' ? seeds[index - first] : null
          return [{ ...image, role, seed: isSeed(seed) ? seed : null }]
        })
        const [failure] = lost.values()
        if (kept.length === 0 && failure !== undefined) throw failure
        return { images: kept, warnings: [...lost].toSorted(([one], [other]) => one - other).map(unknownMedia) }
      },
      async discard () {
        images.forEach(letGo)
        const outcomes = await Promise.allSettled(images.map(async ({ sink }) => await sink?.finished))
        await Promise.all(outcomes.map(async outcome => {
          if (outcome.status === 'fulfilled' && outcome.value !== undefined) await media.removeOutput(outcome.value.name)
        }))
      }
    }
  }
}

/** The jobs of one server whose images are being stored, which can wait for disk space. */
export function createStoring (leaving: AbortSignal) {
  const waiting = new Map<string, AbortController>()
  const giveUp = (reason?: unknown) => { for (const cancelled of waiting.values()) cancelled.abort(reason) }
  leaving.addEventListener('abort', () => { giveUp(leaving.reason) }, { once: true })
  return {
    /**
     * Runs the work. Its signal ends the wait: when the job is cancelled, the images are given up or the process stops.
     * @param isCancelled the job is cancelled already
     */
    async store<Images> (
      { id }: Pick<Job, 'id'>, isCancelled: boolean, work: (signal: AbortSignal) => Promise<Images>
    ): Promise<Images> {
      const cancelled = new AbortController()
      if (isCancelled) cancelled.abort()
      if (leaving.aborted) cancelled.abort(leaving.reason)
      waiting.set(id, cancelled)
      return await work(cancelled.signal).finally(() => { waiting.delete(id) })
    },
    cancel (jobId: string) { waiting.get(jobId)?.abort() },
    giveUp () { giveUp() }
  }
}

function unknownMedia ([index, { message }]: [number, GenerationFailure]): JobWarning {
  return {
    code: 'unknown_media', message: `Entry ${index} of the server's images was left out. ${message}`, field: 'images'
  }
}

/** A1111 puts a contact sheet before the real images and ControlNet maps or masks after them. */
function roleOf (index: number, first: number, asked: number): StoredImage['role'] {
  if (index < first) return 'grid'
  return index < first + asked ? 'image' : 'extra'
}
