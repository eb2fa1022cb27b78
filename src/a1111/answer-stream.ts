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
  chunks: AsyncIterable<Buffer>, { createSink, maxAnswerBytes }: AnswerStreamOptions
): Promise<GenerationAnswer> {
  const sieve = createJsonSieve({ fateOf, maxKeptBytes })
  let answerBytes = 0
  let imageCount = 0
  let decoder = createImageDecoder()
  let sink: ImageSink | null = null

  async function write (bytes: Buffer): Promise<void> {
    if (bytes.length > 0) await sink?.write(bytes)
  }

  try {
    for await (const chunk of chunks) {
      answerBytes += chunk.length
      if (answerBytes > maxAnswerBytes) throw answerTooLarge(maxAnswerBytes)
      for (const event of sieve.scan(chunk)) {
        if (event.kind === 'open') {
          decoder = createImageDecoder()
          sink = await createSink(imageCount)
        } else if (event.kind === 'text') {
          await write(decoder.decode(event.text))
        } else {
          await write(decoder.end())
          await sink?.end()
          sink = null
          imageCount++
        }
      }
    }
    return toAnswer(sieve.finish(), imageCount)
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

function toAnswer (answer: unknown, imageCount: number): GenerationAnswer {
  const { images, info, parameters, ...rest } = fieldsOf(answer)
  const said = imageCount === 0 ? serverErrorOf(rest) : null
  if (said !== null) {
    throw new GenerationFailure('bad-answer', 'error_in_answer', `The server answered with an error in place of images: ${said.message}.`)
  }
  if (!Array.isArray(images)) {
    throw new GenerationFailure('bad-answer', 'no_images', 'The server\'s answer has no list of images.')
  }
  if (images.length !== imageCount) throw corruptImage('it is not a string')
  return { imageCount, info: parseInfo(info), parameters: objectOf(parameters) }
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
