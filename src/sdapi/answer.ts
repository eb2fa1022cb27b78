import { setTimeout as sleep } from 'node:timers/promises'
import { stringifyJson, stringifyKeepingFloats } from '../lib/exact-json.ts'
import type { Job, JobImage } from '../jobs/job.ts'
import type { MediaStore } from '../media/store.ts'

/** Parts of an answer besides the job. */
export interface AnswerOptions {
  /** JSON text of `parameters`. */
  readonly echo: string
  readonly sendImages: boolean
}

/** Base64 takes three bytes at a time. */
const group = 3

/** The bytes of an output as base64, piece by piece. */
export async function * base64Of (media: Pick<MediaStore, 'openOutput'>, name: string): AsyncGenerator<string> {
  const output = await media.openOutput(name)
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of await output.stream() as AsyncIterable<Buffer>) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    const whole = bytes.length - bytes.length % group
    yield bytes.toString('base64', 0, whole)
    rest = bytes.subarray(whole)
  }
  if (rest.length > 0) yield rest.toString('base64')
}

/** A JSON list of images as base64, none of which is ever whole in memory. */
export async function * imageList (media: MediaStore, images: ReadonlyArray<Pick<JobImage, 'name'>>): AsyncGenerator<string> {
  yield '['
  for (const [index, { name }] of images.entries()) {
    yield index === 0 ? '"' : ',"'
    yield * base64Of(media, name)
    yield '"'
  }
  yield ']'
}

/** A1111's answer to a generation, from a finished job with or without images. */
export async function * generationAnswer (
  media: MediaStore, job: Job, { echo, sendImages }: AnswerOptions
): AsyncGenerator<string> {
  yield '{"images":'
  yield * imageList(media, sendImages ? job.result?.images ?? [] : [])
  yield `,"parameters":${echo},"info":${stringifyJson(infoText(job))}}`
}

/** `info` as A1111 gives it: JSON inside of a string. */
export function infoText (job: Job): string {
  return stringifyKeepingFloats(job.result?.info ?? infoOfNothing(job))
}

/** A job that was cancelled before it ran: A1111 answers an early interrupt with no images, too. */
function infoOfNothing ({ submission: { parameters } }: Job): Record<string, unknown> {
  const { prompt = '', negative_prompt: negative = '', seed = -1, width, height, sampler_name: sampler, steps } = parameters
  return {
    prompt,
    all_prompts: [prompt],
    negative_prompt: negative,
    all_negative_prompts: [negative],
    seed,
    all_seeds: [seed],
    width,
    height,
    sampler_name: sampler,
    steps,
    index_of_first_image: 0,
    infotexts: [],
    extra_generation_params: {}
  }
}

/** Waits so many milliseconds, or until the signal. */
export type Pause = (milliseconds: number, signal: AbortSignal) => Promise<unknown>

export const realPause: Pause = async (milliseconds, signal) => {
  await sleep(milliseconds, null, { signal }).catch(() => undefined)
}

/** Proxies drop connections that are silent for a minute, some sooner. */
const blankIntervalMs = 15_000

/** A blank now, and one every 15 seconds until the promise is settled. */
export async function * blanksUntil (settled: Promise<unknown>, pause: Pause): AsyncGenerator<string> {
  const stop = new AbortController()
  const over = settled.then(() => 'over', () => 'over').finally(() => { stop.abort() })
  do yield ' '
  while (await Promise.race([over, pause(blankIntervalMs, stop.signal)]) !== 'over' && !stop.signal.aborted)
}
