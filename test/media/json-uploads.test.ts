import { randomBytes } from 'node:crypto'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import { parseJson } from '../../src/lib/json.ts'
import { isUploadedImage, uploadedImage } from '../../src/lib/media-types.ts'
import { siftJson } from '../../src/media/json-uploads.ts'
import { createMediaStore } from '../../src/media/store.ts'
import { createUploadTexts } from '../../src/media/uploads.ts'

const mebibyte = 1_048_576
const limits = { bytes: mebibyte, pixels: 1_000_000, count: 16 }
/** Noise, which no format can compress. */
const png = await sharp(randomBytes(200 * 200 * 3), { raw: { width: 200, height: 200, channels: 3 } }).png().toBuffer()
const base64 = png.toString('base64')

async function open (t: Test) {
  const store = await createMediaStore({ directory: t.testdir() })
  const texts = createUploadTexts(randomBytes(32))
  const sift = async (text: string | Buffer, pieceBytes = 10_000, keptBytes = 4 * mebibyte) =>
    await siftJson(piecesOf(Buffer.from(text), pieceBytes), { store, texts, limits, keptBytes })
  return {
    sift,
    read: async (text: string, pieceBytes?: number) => parseJson('The body', await sift(text, pieceBytes)),
    bytesOf: async (text: unknown) => {
      const reference = texts.referenceOf(String(text))
      return reference === null ? null : await store.readInput(reference)
    },
    inputs: async () => {
      const found: string[] = []
      for await (const { $media: name } of store.listInputs(Infinity)) found.push(name)
      return found
    }
  }
}

async function refusalOf (work: () => Promise<unknown>): Promise<object | null> {
  return await work().then(() => null, (error: Error & { details: object }) =>
    ({ ...error.details, message: error.message }))
}

async function * piecesOf (bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

t.test('large images are stored while the text arrives, at whatever position it is cut, and everything else stays', async t => {
  const { read, sift, bytesOf, inputs } = await open(t)
  const others = { prompt: 'a "cat" \\ ü 猫', list: [1, null, true, { deep: 'A'.repeat(200_000) }], small: base64.slice(0, 400) }
  const forms: Array<[what: string, written: string]> = [
    ['base64', JSON.stringify(base64)],
    ['a data URL', JSON.stringify(`data:image/png;base64,${base64}`)],
    ['with escaped slashes', JSON.stringify(base64).replaceAll('/', '\\/')],
    ['with letters as codes', JSON.stringify(base64).replaceAll('A', '\\u0041')],
    ['in lines', JSON.stringify(base64.replace(/.{76}/g, '$&\r\n'))],
    ['between blanks', JSON.stringify(`  ${base64} `)]
  ]
  for (const [what, written] of forms) {
    const text = `{"init_images":[${written}],"others":${JSON.stringify(others)},"mask":${written}}`
    for (const pieceBytes of [777, 65_536, mebibyte]) {
      const { bytes } = await sift(text, pieceBytes)
      t.ok(bytes.length < 210_000, `${what}: what stays in memory is small`)
      const value = await read(text, pieceBytes) as Record<string, unknown>
      t.same(value.others, others, `${what} in pieces of ${pieceBytes}`)
      t.same([await bytesOf((value.init_images as unknown[])[0]), await bytesOf(value.mask)], [png, png], what)
    }
  }
  t.equal((await inputs()).length, 1, 'equal pictures are kept once')
})

t.test('an image is a reference where images belong, and elsewhere the text that clients can send again', async t => {
  const { read, bytesOf } = await open(t)
  const value = await read(JSON.stringify({
    generation_params: { init_images: [base64], mask: base64, prompt: base64, raw_payload: { mask: base64 } },
    alwayson_scripts: { controlnet: { args: [{ input_image: base64, model: base64 }, base64] } },
    script_args: [base64],
    controlnet_units: [{ image: base64 }],
    image7: base64,
    metadata: { preview: base64 },
    script_name: base64
  })) as Record<string, unknown>
  const found: string[] = []
  const texts: string[] = []
  const walk = (inner: unknown, path: string): void => {
    if (isUploadedImage(inner)) found.push(path)
    else if (typeof inner === 'string') texts.push(path)
    else for (const [name, one] of Object.entries(inner as object)) walk(one, path === '' ? name : `${path}.${name}`)
  }
  walk(value, '')
  t.same(found, [
    'generation_params.init_images.0', 'generation_params.mask', 'generation_params.raw_payload.mask',
    'alwayson_scripts.controlnet.args.0.input_image', 'alwayson_scripts.controlnet.args.1', 'script_args.0',
    'controlnet_units.0.image', 'image7'
  ])
  t.same(texts, ['generation_params.prompt', 'alwayson_scripts.controlnet.args.0.model', 'metadata.preview', 'script_name'])
  t.same(await Promise.all([value.image7, value.script_name].map(bytesOf)), [png, png])
  t.equal(JSON.stringify(value.image7), JSON.stringify(value.script_name), 'answers show both alike')
  t.equal(await read(JSON.stringify(base64)), value.script_name, 'a body that is no object holds no image')
})

t.test('no client can make up a reference', async t => {
  const { read, sift } = await open(t)
  const one = await sift(JSON.stringify({ mask: base64 }))
  const [place = ''] = one.parts.keys()
  const two = await sift(JSON.stringify({ mask: base64, image: place, [place]: 1, init_images: [`${place} `] }))
  t.ok(one.bytes.includes(place))
  t.ok([...two.parts.keys()].every(other => other !== place), 'each body has places of its own')
  t.strictSame(Object.entries(parseJson('The body', two) as object).filter(([name]) => name !== 'mask'), [
    ['image', place], [place, 1], ['init_images', [`${place} `]]
  ], 'the place of another body is a text')

  const image = (parseJson('The body', one) as { mask: object }).mask
  t.ok(isUploadedImage(image))
  const copies = [{ ...image }, { $media: Reflect.get(image, '$media') as string }, Object.create(image), JSON.parse(JSON.stringify(image))]
  for (const copy of copies) t.notOk(isUploadedImage(copy))
  const json = '{"mask":{"$media":"a.png","toJSON":"x","toString":"y"},"image":["upload 00"]}'
  t.strictSame(await read(json), JSON.parse(json))
  const texts = createUploadTexts(randomBytes(32))
  t.equal(texts.referenceOf({ $media: 'a.png' }), null)
  t.strictSame(texts.referenceOf(uploadedImage({ $media: 'a.png' }, '')), { $media: 'a.png' }, 'a record gets the plain reference')
})

t.test('the same text gives the same value, however the network splits it', async t => {
  const { read } = await open(t)
  const texts = [65_535, 65_536, 65_537, 131_072].map(length => JSON.stringify({ image: base64.slice(0, length) }))
  for (const text of texts) {
    const answers = await Promise.all([1000, 4096, 65_536, mebibyte].map(async size =>
      await read(text, size).catch((error: Error) => error.message)))
    t.equal(new Set(answers.map(answer => JSON.stringify(answer))).size, 1, JSON.stringify(answers[0]).slice(0, 80))
  }
})

t.test('an error in a text has its position, images included', async t => {
  const { read, inputs } = await open(t)
  const image = JSON.stringify(base64)
  const broken = [
    `{"a": ${image}, "b": x}`,
    `{"a": ${image},\n "b": ${image}\n, }`,
    `{"a": ${image}`,
    `{"a": "${base64}`,
    `{"a": "${base64}\n${base64}"}`,
    `{"a": "${base64}\\x${base64}"}`,
    `{"a": "${base64.slice(0, 65_500)}\\u00zz${base64}", "b": ${image}}`,
    `[${image} ${image}]`,
    `${image} 1`
  ]
  for (const text of broken) {
    for (const pieceBytes of [999, 65_536, mebibyte]) {
      const found = await refusalOf(async () => await read(text, pieceBytes))
      const wanted = await refusalOf(async () => parseJson('The body', Buffer.from(text)))
      t.ok(wanted !== null)
      t.same(found, wanted, `${text.slice(0, 20)}…${text.slice(-20)} in pieces of ${pieceBytes}`)
    }
  }
  await t.rejects(read('['.repeat(65) + image + ']'.repeat(65)), { code: 'malformed_request', message: /deeper than 64 levels at byte 64/ })
  t.ok((await inputs()).length <= 1, 'what was broken is not stored')
})

t.test('an image that no server accepts is rejected with its position, before the rest has arrived', async t => {
  const { sift, inputs } = await open(t)
  const head = base64.slice(0, 100)
  const cases: Array<[what: string, text: string, code: string, sentence: RegExp]> = [
    ['too large', head + 'A'.repeat(2 * mebibyte), 'payload_too_large', /^a\.images\.1 is too large.*IMAGE_MAX_MIB/],
    ['cut off', base64.slice(0, 100_000), 'invalid_image', /^a\.images\.1 is a PNG that was cut off/],
    ['no base64', base64.slice(0, 100_000) + '****' + base64, 'invalid_image', /^a\.images\.1 is not base64/],
    ['of the other alphabet', head + '_-'.repeat(50_000), 'invalid_image', /URL-safe/],
    ['padded in the middle', base64.slice(0, 99_999) + '=' + base64, 'invalid_image', /is not base64/],
    ['of a length that cannot be', base64.slice(0, 99_999), 'invalid_image', /multiple of 4/],
    ['a data URL without base64', `data:image/png,${base64}`, 'invalid_image', /without base64/],
    ['a GIF', 'R0lGODlh' + 'A'.repeat(100_000), 'invalid_image', /is a GIF/]
  ]
  for (const [what, text, code, message] of cases) {
    await t.rejects(sift(JSON.stringify({ a: { images: ['x', text] } })), { code, message, details: { field: 'a.images.1' } }, what)
  }
  t.same(await inputs(), [])
})

t.test('the text beside images has a limit', async t => {
  const { sift } = await open(t)
  const text = JSON.stringify({ prompt: 'a'.repeat(300_000), image: base64 })
  await t.resolves(sift(text, 10_000, 450_000))
  await t.rejects(sift(text, 10_000, 200_000), { code: 'payload_too_large', message: /beside its pictures/ })
})
