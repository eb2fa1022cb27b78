// A process of its own: it measures memory.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from '../property.ts'
import t from 'tap'
import { readGenerationAnswer } from '../../src/a1111/generation-call.ts'
import { createJsonStreamFilter } from '../../src/a1111/json-stream-filter.ts'
import { parseJsonText } from '../../src/lib/exact-json.ts'
import { GenerationFailure, type GenerationAnswer, type ImageSink } from '../../src/a1111/types.ts'

interface Received { chunks: Buffer[], state: 'open' | 'ended' | 'aborted' }

/** Sinks that remember what they get. */
function collectImages () {
  const images: Received[] = []
  async function createSink (index: number): Promise<ImageSink> {
    const image: Received = { chunks: [], state: 'open' }
    images[index] = image
    return {
      write: async bytes => { image.chunks.push(Buffer.from(bytes)) },
      end: async () => { image.state = 'ended' },
      abort: async () => { image.state = 'aborted' }
    }
  }
  return { images, createSink, bytesOf: (index: number) => Buffer.concat(images[index]?.chunks ?? []) }
}

/** The text in chunks of the given sizes; the last size repeats. */
async function * inChunks (text: string | Buffer, ...sizes: number[]): AsyncGenerator<Buffer, void> {
  const bytes = Buffer.from(text)
  let start = 0
  for (let index = 0; start < bytes.length; index++) {
    const size = sizes[Math.min(index, sizes.length - 1)] ?? bytes.length
    yield bytes.subarray(start, start + size)
    start += size
  }
}

function read (
  text: string | Buffer, size: number, collected = collectImages(), maxAnswerBytes = 2 ** 30
): Promise<GenerationAnswer> {
  return readGenerationAnswer(inChunks(text, size), { createSink: collected.createSink, maxAnswerBytes })
}

async function failureOf (reading: Promise<unknown>): Promise<GenerationFailure> {
  const error = await reading.then(() => new Error('nothing failed'), (reason: unknown) => reason)
  if (error instanceof GenerationFailure) return error
  throw error
}

function answerText (images: Buffer[], info: unknown = { seed: 1 }, parameters: unknown = { steps: 20 }): string {
  return JSON.stringify({ images: images.map(image => image.toString('base64')), parameters, info: JSON.stringify(info) })
}

t.test('any answer, in any order of keys and any chunks, gives its images and the rest', async t => {
  const anyImage = fc.uint8Array({ minLength: 1, maxLength: 300 }).map(bytes => Buffer.from(bytes))
  const anyChunks = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 })
  const anyParameters = fc.dictionary(fc.string({ maxLength: 8 }).filter(key => key !== '__proto__'), fc.jsonValue({ maxDepth: 3 }))
  await t.resolves(fc.assert(fc.asyncProperty(
    fc.array(anyImage, { maxLength: 4 }), anyParameters, anyParameters, anyChunks,
    fc.shuffledSubarray(['images', 'parameters', 'info'], { minLength: 3 }), fc.constantFrom(undefined, 1), fc.boolean(),
    async (images, parameters, info, sizes, order, indent, escaped) => {
      const values: Record<string, unknown> = { images: images.map(image => image.toString('base64')), parameters, info: JSON.stringify(info) }
      const plain = JSON.stringify(Object.fromEntries(order.map(key => [key, values[key]])), null, indent)
      const collected = collectImages()
      const answer = await readGenerationAnswer(inChunks(escaped ? plain.replaceAll('/', '\\/') : plain, ...sizes),
        { createSink: collected.createSink, maxAnswerBytes: 1e6 })
      assert.deepEqual(answer, parseJsonText(JSON.stringify({ imageCount: images.length, info, parameters })))
      assert.deepEqual(images.map((_, index) => collected.bytesOf(index)), images)
      assert.ok(collected.images.every(image => image.state === 'ended'))
    }), { numRuns: 150 }))
})

t.test('an image can have each form that servers send', async t => {
  const bytes = randomBytes(100)
  const plain = bytes.toString('base64')
  const forms: Record<string, string> = {
    'a data URL': `data:image/png;base64,${plain}`,
    'a data URL with escaped slashes': `data:image\\/png;base64,${plain.replaceAll('/', '\\/')}`,
    'without padding': plain.replace(/=+$/, ''),
    'with line breaks': plain.replace(/.{20}/g, '$&\\r\\n'),
    'with unicode escapes': plain.replaceAll('=', '\\u003d').replaceAll('+', '\\u002B')
  }
  for (const [name, text] of Object.entries(forms)) {
    for (const size of [1, 3, 7, 1000]) {
      const collected = collectImages()
      await read(`{"images":["${text}"],"parameters":{},"info":""}`, size, collected)
      t.ok(collected.bytesOf(0).equals(bytes), `${name}, ${size} bytes at a time`)
    }
  }
})

t.test('a corrupt image fails the answer and aborts its sink', async t => {
  const plain = randomBytes(99).toString('base64')
  const corrupt: Record<string, string> = {
    'a sign outside the alphabet': `"${plain.slice(0, 40)}*${plain.slice(41)}"`,
    'text after padding': `"${plain}AA==BBBB"`,
    'a missing end': `"${plain.slice(0, -3)}"`,
    'too much padding': `"${plain}==="`,
    'nothing at all': '""',
    'an empty data URL': '"data:image/png;base64,"',
    'a data URL of text': '"data:text/plain,hello"',
    'an escape that is not base64': `"${plain}\\b"`,
    'half an escape': `"${plain}\\u00"`
  }
  for (const [name, text] of Object.entries(corrupt)) {
    const collected = collectImages()
    const failure = await failureOf(read(`{"images":["AAAA",${text}],"parameters":{},"info":"{}"}`, 16, collected))
    t.match(failure, { failureClass: 'bad-answer', code: 'corrupt_image', mayBeRunning: false }, name)
    t.strictSame(collected.images.map(image => image.state), ['ended', 'aborted'], `${name}: only the open sink is aborted`)
  }
  t.match(await failureOf(read('{"images":[null],"info":""}', 16)), { code: 'corrupt_image' }, 'null for an image')
})

t.test('an answer that is cut off anywhere differs from a complete one', async t => {
  const whole = answerText([randomBytes(50), randomBytes(51)])
  for (let length = 0; length < whole.length; length++) {
    const collected = collectImages()
    const failure = await failureOf(read(whole.slice(0, length), 10, collected))
    t.match(failure, { failureClass: 'passing', code: 'truncated_answer', mayBeRunning: false })
    t.notOk(collected.images.some(image => image.state === 'open'), `cut after ${length}`)
  }
})

t.test('other content is named in the error', async t => {
  const cases: Array<[text: string, code: string]> = [
    ['<!doctype html><h1>Gradio</h1>', 'bad_gateway'],
    ['Internal Server Error', 'not_json'],
    ['{"images":[],}', 'not_json'],
    ['['.repeat(5000), 'not_json'],
    ['[1,2]', 'no_images'],
    ['{"job_id":"x"}', 'no_images'],
    ['{"images":null,"info":""}', 'no_images'],
    ['{"error":"RuntimeError","detail":"","body":"","errors":"it broke"}', 'error_in_answer'],
    ['{"images":[],"detail":"it broke"}', 'error_in_answer']
  ]
  for (const [text, code] of cases) t.equal((await failureOf(read(text, 1000))).code, code, text.slice(0, 40))
})

t.test('an answer without an image is valid: the generation was interrupted while its checkpoint loaded', async t => {
  t.strictSame(await read('{"images":[],"parameters":{"steps":4},"info":"{\\"seed\\":7}"}', 5),
    { imageCount: 0, info: { seed: 7 }, parameters: { steps: 4 } })
  t.strictSame(await read('{"images":[],"parameters":null,"info":"no JSON"}', 5),
    { imageCount: 0, info: null, parameters: null })
})

t.test('images outside the list of images stay in the text', async t => {
  const collected = collectImages()
  const parameters = { images: ['AAAA'], nested: { images: ['not base64!'] } }
  const answer = await read(answerText([Buffer.from('one')], {}, parameters), 9, collected)
  t.strictSame(answer.parameters, parameters)
  t.equal(collected.images.length, 1)
})

t.test('the echo of large inputs does not count towards the limit, a large info does', async t => {
  const large = randomBytes(9_000_000).toString('base64')
  const answer = await read(answerText([Buffer.from('one')], { seed: 1 }, { mask: large, steps: 3 }), 60_000)
  t.strictSame(answer.parameters, { mask: null, steps: 3 })
  t.match(await failureOf(read(answerText([], large), 60_000)), { failureClass: 'bad-answer', code: 'answer_too_large' })
  t.match(await failureOf(read(answerText([randomBytes(2000)]), 100, collectImages(), 2000)), { code: 'answer_too_large' })
})

t.test('an error of a sink comes out unchanged', async t => {
  const full = new Error('no space left')
  let aborted = false
  const createSink = async (): Promise<ImageSink> => ({
    write: async () => { throw full },
    end: async () => {},
    abort: async () => {
      aborted = true
      throw new Error('cannot even be removed')
    }
  })
  const text = answerText([randomBytes(1000)])
  await t.rejects(readGenerationAnswer(inChunks(text, 100), { createSink, maxAnswerBytes: 1e6 }), full)
  t.ok(aborted)
})

t.test('no chunk is requested before the sink has accepted the one before', async t => {
  let waiting = 0
  let maxWaiting = 0
  const createSink = async (): Promise<ImageSink> => ({
    async write () {
      maxWaiting = Math.max(maxWaiting, ++waiting)
      await nextTurn()
      waiting--
    },
    end: async () => {},
    abort: async () => {}
  })
  async function * chunks (): AsyncGenerator<Buffer, void> {
    for await (const chunk of inChunks(answerText([randomBytes(50_000)]), 1000)) {
      t.equal(waiting, 0)
      yield chunk
    }
  }
  await readGenerationAnswer(chunks(), { createSink, maxAnswerBytes: 1e6 })
  t.equal(maxWaiting, 1)
})

t.test('forty megabytes use little memory and do not block for long', async t => {
  const image = randomBytes(7_500_000)
  let maxHeld = 0
  // made lazily, so that only the reader's memory is measured
  async function * chunks (): AsyncGenerator<Buffer, void> {
    const text = Buffer.from(image.toString('base64'))
    const start = memory()
    yield Buffer.from('{"images":[')
    for (let count = 0; count < 4; count++) {
      yield Buffer.from(count === 0 ? '"' : ',"')
      for (let from = 0; from < text.length; from += 65_536) {
        yield Buffer.from(text.subarray(from, from + 65_536))
        if (from % (40 * 65_536) === 0) maxHeld = Math.max(maxHeld, memory() - start)
        await nextTurn()
      }
      yield Buffer.from('"')
    }
    yield Buffer.from('],"parameters":{},"info":"{}"}')
  }
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const memory = () => {
    collectGarbage()
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  let written = 0
  const createSink = async (): Promise<ImageSink> => ({
    write: async bytes => { written += bytes.length },
    end: async () => {},
    abort: async () => {}
  })
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const answer = await readGenerationAnswer(chunks(), { createSink, maxAnswerBytes: 2 ** 30 })
  delay.disable()
  t.equal(answer.imageCount, 4)
  t.equal(written, 4 * image.length)
  t.comment(`longest stop, garbage collections included, ${(delay.max / 1e6).toFixed(1)} ms; most memory over the start ${(maxHeld / 2 ** 20).toFixed(1)} MiB`)
  t.ok(maxHeld < image.length, 'held less than one image at any time')
})

t.test('the filter keeps the JSON and leaves out the named members', t => {
  const anyJson = fc.jsonValue({ maxDepth: 5 })
  t.doesNotThrow(() => fc.assert(fc.property(anyJson, fc.integer({ min: 1, max: 30 }), (value, size) => {
    const text = Buffer.from(JSON.stringify(value))
    const keeping = createJsonStreamFilter({ dispositionOf: () => 'keep', maxKeptBytes: 1e6 })
    const dropping = createJsonStreamFilter({
      dispositionOf: (path, kind) => path.at(-1) === 'metadata' && kind === 'container' ? 'drop' : 'keep', maxKeptBytes: 1e6
    })
    for (let start = 0; start < text.length; start += size) {
      assert.deepEqual([...keeping.scan(text.subarray(start, start + size))], [])
    }
    assert.deepEqual(keeping.finish(), parseJsonText(String(text)))
    Array.from(dropping.scan(Buffer.from(`[{"a":1,"metadata":${text},"b":[2]},{"metadata":{"metadata":[${text}]}}]`)))
    assert.deepEqual(dropping.finish(), [
      { a: 1, metadata: typeof value === 'object' ? null : parseJsonText(String(text)), b: [2] }, { metadata: null }
    ])
  }), { numRuns: 200 }))
  t.end()
})
