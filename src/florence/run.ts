import { EgressRefusal, type EgressGuard } from '../egress/guard.ts'
import { guardedGet } from '../egress/get.ts'
import type { Reach } from '../egress/rules.ts'
import { messageOf, ServiceError } from '../errors.ts'
import { bufferSource } from '../media/byte-source.ts'
import { checkImageHeader, type ImageLimits } from '../media/images.ts'
import type { MediaStore } from '../media/store.ts'
import { FlorenceRefusal, type FlorenceClient } from './gradio.ts'
import type { FlorenceStore, FlorenceTask } from './task.ts'

export interface FlorenceRunnerDependencies {
  readonly store: FlorenceStore
  readonly client: FlorenceClient
  readonly guard: Pick<EgressGuard, 'client'>
  readonly media: Pick<MediaStore, 'createOutputSink' | 'removeOutput'>
  readonly limits: ImageLimits
  readonly reachOf: (keyId: string | null) => Promise<Reach>
  /** Has whoever wants to know told how a task ended; telling twice is telling once. */
  readonly tell: (ended: FlorenceTask) => Promise<void>
}

const fetchDeadline = 30_000

/** Faults that another try does not mend. */
const finalFaults = [FlorenceRefusal, EgressRefusal, ServiceError]

/**
 * One attempt at a task, with its end written unless it is to be tried again.
 * @param last whether there is no further attempt
 * @throws Error for what may go better next time
 */
export async function runFlorenceTask (
  id: string, last: boolean, dependencies: FlorenceRunnerDependencies, closing: AbortSignal
): Promise<void> {
  const { store, media } = dependencies
  if (!await store.move(id, ['pending', 'processing'], 'processing')) return
  const task = await store.find(id)
  if (task === null) return
  try {
    const { text, image } = await answerTo(task, dependencies, closing)
    if (await end(task, { status: 'completed', text, image, problem: null }, dependencies)) return
    // Cancelled meanwhile.
    if (image !== null) await media.removeOutput(image)
  } catch (error) {
    if (closing.aborted || (!last && !finalFaults.some(kind => error instanceof kind))) throw error
    await end(task, { status: 'failed', text: null, image: null, problem: messageOf(error) }, dependencies)
  }
}

/**
 * Told first: whoever dies between the two does it all again, and the receiver hears of it once. A task that was
 * cancelled is not told of.
 */
async function end (
  task: FlorenceTask, outcome: Pick<FlorenceTask, 'status' | 'text' | 'image' | 'problem'>,
  { store, tell }: FlorenceRunnerDependencies
): Promise<boolean> {
  const { status, ...change } = outcome
  const endedAt = Date.now()
  if ((await store.find(task.id))?.status !== 'processing') return false
  await tell({ ...task, ...outcome, endedAt })
  return await store.move(task.id, ['processing'], status, { ...change, endedAt })
}

/** We fetch the picture, not Florence, which may stand where it could reach what nobody from outside should. */
async function answerTo (
  { id, keyId, imageUrl, task, mode, prompt, createdAt }: FlorenceTask,
  { guard, limits, client, media, reachOf }: FlorenceRunnerDependencies, signal: AbortSignal
): Promise<Pick<FlorenceTask, 'text' | 'image'>> {
  const picture = await guardedGet(guard, {
    url: new URL(imageUrl), reach: await reachOf(keyId), deadline: fetchDeadline, maxBytes: limits.bytes, signal
  })
  await checkImageHeader(bufferSource(picture), 'imageUrl', limits)
  const { text, image } = await client.ask({ picture, task, mode, prompt }, signal)
  if (image === null) return { text, image: null }
  const sink = await media.createOutputSink(id, 0, createdAt)
  await sink.write(image)
  await sink.end()
  return { text, image: (await sink.finished).name }
}
