import { parsePythonJson } from '../lib/exact-json.ts'
import { answerTooLarge, corruptImage } from './failures.ts'
import { createImageDecoder } from './image-decoder.ts'
import { createJsonSieve, type Fate, type JsonPath } from './json-sieve.ts'
import { fieldsOf, objectOf } from './json-values.ts'
import { serverErrorOf } from './server-errors.ts'
import { GenerationFailure, type GenerationAnswer, type ImageSink } from './types.ts'

export interface AnswerStreamOptions {
  /** Makes the sink of the image with this index, from 0. */
  readonly createSink: (index: number) => Promise<ImageSink>
  /** Called for an entry of `images` that is no base64, in place of failing the whole answer. */
  readonly onUnreadable?: (index: number, failure: GenerationFailure) => void
  /** Largest answer, images included. */
  readonly maxAnswerBytes: number
}

/** `info` and `parameters` together; a thousand images' infotexts stay far below. */
const maxKeptBytes = 8 * 1024 * 1024

/**
 * Reads the answer to a generation as it arrives: images go decoded into their sinks, no faster than these take
 * them, the rest is kept and parsed. Needs a few pieces of 64 KiB, however large the answer is. If anything fails,
 * the sink that is open is aborted; sinks that had ended stay ended, and whoever made them throws them away.
 *
 * @throws GenerationFailure `corrupt_image`, `answer_too_large`, `not_json`, `truncated_answer`, `no_images`,
 *   `error_in_answer`; and whatever a sink or the chunks throw, unchanged
 */
export async function readGenerationAnswer (
  chunks: AsyncIterable<Buffer>, { createSink, onUnreadable, maxAnswerBytes }: AnswerStreamOptions
): Promise<GenerationAnswer> {
  /** Place of the image that is read in the list. */
  let index = 0
  const sieve = createJsonSieve({
    fateOf (path, kind) {
      const fate = fateOf(path, kind)
      if (fate === 'stream') index = Number(path[1])
      return fate
    },
    maxKeptBytes
  })
  let answerBytes = 0
  const streamed = new Set<number>()
  let decoder = createImageDecoder()
  let sink: ImageSink | null = null

  async function write (bytes: Buffer): Promise<void> {
    if (bytes.length > 0) await sink?.write(bytes)
  }

  /** Decodes a piece; null where it is none and the caller takes that. */
  async function decoded (work: () => Buffer): Promise<Buffer | null> {
    try {
      return work()
    } catch (error) {
      if (onUnreadable === undefined || !(error instanceof GenerationFailure)) throw error
      await sink?.abort()
      sink = null
      onUnreadable(index, error)
      return null
    }
  }

  try {
    for await (const chunk of chunks) {
      answerBytes += chunk.length
      if (answerBytes > maxAnswerBytes) throw answerTooLarge(maxAnswerBytes)
      for (const event of sieve.scan(chunk)) {
        if (event.kind === 'open') {
          decoder = createImageDecoder()
          streamed.add(index)
          sink = await createSink(index)
        } else if (sink !== null) {
          const bytes = await decoded(() => event.kind === 'text' ? decoder.decode(event.text) : decoder.end())
          if (bytes === null) continue
          await write(bytes)
          if (event.kind === 'text') continue
          await sink.end()
          sink = null
        }
      }
    }
    return toAnswer(sieve.finish(), streamed, onUnreadable)
  } catch (error) {
    await sink?.abort().catch(() => {}) // the first error is the one that counts
    throw error
  }
}

/** Long strings of the echoed parameters are ControlNet images that we sent ourselves. */
function fateOf (path: JsonPath, kind: 'string' | 'container'): Fate {
  if (kind === 'container' || path.length < 2) return 'keep'
  return path.length === 2 && path[0] === 'images' && typeof path[1] === 'number' ? 'stream' : 'trim'
}

function toAnswer (
  answer: unknown, streamed: ReadonlySet<number>, onUnreadable: AnswerStreamOptions['onUnreadable']
): GenerationAnswer {
  const { images, info, parameters, ...rest } = fieldsOf(answer)
  const said = streamed.size === 0 ? serverErrorOf(rest) : null
  if (said !== null) {
    throw new GenerationFailure('bad-answer', 'error_in_answer', `The server answered with an error in place of images: ${said.message}.`)
  }
  if (!Array.isArray(images)) {
    throw new GenerationFailure('bad-answer', 'no_images', 'The server\'s answer has no list of images.')
  }
  for (const index of images.keys()) {
    if (streamed.has(index)) continue
    const failure = corruptImage('it is not a string')
    if (onUnreadable === undefined) throw failure
    onUnreadable(index, failure)
  }
  return { imageCount: images.length, info: parseInfo(info), parameters: objectOf(parameters) }
}

/** A1111 sends `info` as JSON within a string; some others as the object itself. */
function parseInfo (info: unknown): GenerationAnswer['info'] {
  if (typeof info !== 'string') return objectOf(info)
  try {
    return objectOf(parsePythonJson(info))
  } catch {
    return null
  }
}
