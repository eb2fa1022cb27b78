import Fastify from 'fastify'
import { randomBytes } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { connect, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text as readText } from 'node:stream/consumers'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import body from '../../plugins/core/body.ts'
import errors from '../../plugins/core/errors.ts'
import knownPaths from '../../plugins/core/known-paths.ts'
import { findJsonFault } from '../../src/lib/json.ts'
import { createMediaStore } from '../../src/media/store.ts'
import { createUploadTexts } from '../../src/media/uploads.ts'

const config = { BODY_LIMIT_MIB: 4, IMAGE_MAX_MIB: 1, IMAGE_MAX_MEGAPIXELS: 1, IMAGES_PER_JOB: 3 }
const png = await sharp({ create: { width: 20, height: 10, channels: 3, background: '#36a' } }).png().toBuffer()
const jpeg = await sharp({ create: { width: 20, height: 10, channels: 3, background: '#36a' } }).jpeg().toBuffer()

interface Answer { readonly status: number, readonly json: Record<string, unknown> }

/** Routes that answer with their parsed body. */
async function serve (t: Test) {
  const directory = t.testdir()
  const store = await createMediaStore({ directory })
  const texts = createUploadTexts(randomBytes(32))
  const app = Fastify({ bodyLimit: config.BODY_LIMIT_MIB * 1_048_576 })
  await app.register(knownPaths)
  await app.register(errors)
  await app.register(body, { config, store, texts })
  const echo = async (request: { body: unknown }) => ({ body: request.body === undefined ? 'none' : request.body })
  app.post('/json', echo)
  app.post('/form', { config: { multipart: {} } }, echo)
  app.post('/nested', { config: { multipart: { imagesIn: 'generation_params' } } }, echo)
  const address = await app.listen({ host: '127.0.0.1', port: 0 })
  t.after(async () => { await app.close() })
  const post = async (path: string, given: RequestInit): Promise<Answer> => {
    const answer = await fetch(`${address}${path}`, { method: 'POST', ...given })
    return { status: answer.status, json: await answer.json() as Record<string, unknown> }
  }
  return {
    store,
    texts,
    port: (app.server.address() as AddressInfo).port,
    postJson: async (given: string | Buffer, type = 'application/json') =>
      await post('/json', { headers: { 'content-type': type }, body: given }),
    postForm: async (path: string, fill: (form: FormData) => void) => {
      const form = new FormData()
      fill(form)
      return await post(path, { body: form })
    },
    drafts: async () => [
      ...await readdir(join(directory, 'media', 'inputs', '.drafts')), ...await readdir(join(directory, 'outputs', '.drafts'))
    ]
  }
}

const file = (bytes: Buffer) => new Blob([new Uint8Array(bytes)])

t.test('JSON arrives unchanged', async t => {
  const { postJson } = await serve(t)
  const value = { a: [1, 'two', null, true, { b: '"\\[{,' }], ü: '猫', c: '\\'.repeat(200) + '"' + '['.repeat(500) }
  t.same((await postJson(JSON.stringify(value))).json.body, value)
  t.same((await postJson(`\ufeff${JSON.stringify(value)}`, 'application/json; charset=utf-8')).json.body, value)
  t.equal((await postJson('')).json.body, 'none', 'a call that needs no body may announce JSON')
  const image = 'A'.repeat(3_000_000)
  t.equal(((await postJson(JSON.stringify({ image }))).json.body as { image: string }).image, image)
})

t.test('JSON that is broken, too deep, too large or poisoned is rejected with its position', async t => {
  const { postJson } = await serve(t)
  const cases: Array<[given: string, sentence: RegExp]> = [
    ['{"a": x}', /expected a value at line 1, column 7/],
    ['{\n  "a": 1,\n}', /a name in double quotes at line 3, column 1/],
    ['{"a" 1}', /expected a colon at line 1, column 6/],
    ['[1 2]', /a comma or \] at line 1, column 4/],
    ['{"a":1', /a comma or \} at line 1, column 7/],
    ['{} {}', /the end of the text at line 1, column 4/],
    ['"a\nb"', /raw control character/],
    ['"\\x"', /an escape that JSON knows/],
    ['"a', /the quote that ends a string/],
    ['01', /the end of the text at line 1, column 2/],
    ['['.repeat(65) + ']'.repeat(65), /deeper than 64 levels at byte 64/],
    ['{"a":'.repeat(200_000), /deeper than 64/],
    [`[${'0,'.repeat(200_000)}0]`, /more than 200000 values/],
    [`[${'{},'.repeat(100_000)}0]`, /more than 200000 values/],
    ['{"__proto__": {"a": 1}}', /__proto__/],
    ['[{"b": {"\\u005f_proto__": 1}}]', /__proto__/],
    ['{"constructor": {"prototype": {}}}', /constructor\.prototype/]
  ]
  for (const [given, sentence] of cases) {
    const { status, json } = await postJson(given)
    t.match({ status, ...json }, { status: 400, error: 'malformed_request', message: sentence }, given.slice(0, 40))
  }
  t.equal((await postJson('['.repeat(64) + ']'.repeat(64))).status, 200, '64 levels are fine')
  t.equal((await postJson('{"constructor": "x", "prototype": 1}')).status, 200, 'words alone are fine')
  t.match(await postJson(`"${'A'.repeat(4 * 1_048_576)}"`), { status: 413, json: { error: 'payload_too_large' } })
})

t.test('the position of an error is exactly that of JSON.parse', t => {
  const pieces = ['{', '}', '[', ']', ',', ':', '"a"', '"', '1', '-', '.5', 'e3', 'true', 'nul', ' ', '\n', '\\', '\t', '\u2028']
  const disagreements: string[] = []
  let seed = 7
  for (let round = 0; round < 20_000; round++) {
    let text = ''
    for (let length = 1 + round % 9; length > 0; length--) {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
      text += pieces[Math.floor(seed / 65_536) % pieces.length] ?? ''
    }
    let valid = true
    try {
      JSON.parse(text)
    } catch {
      valid = false
    }
    if ((findJsonFault(text) === null) !== valid) disagreements.push(text)
  }
  t.same(disagreements, [])
  t.end()
})

t.test('a form becomes the body of a JSON client, with its files stored', async t => {
  const { postForm, store, texts } = await serve(t)
  const { status, json } = await postForm('/form', form => {
    form.append('prompt', '{"red"|"blue"} cat [a:b:0.5]')
    form.append('steps', '20')
    form.append('override_settings', '{"CLIP_stop_at_last_layers": 2}')
    form.append('styles', 'a')
    form.append('styles', 'b')
    form.append('alwayson_scripts', new Blob(['{"x": {"args": [1]}}'], { type: 'application/json' }))
    form.append('init_images', file(png), 'a.png')
    form.append('init_images[]', file(jpeg), '../../b.exe')
    form.append('mask', file(png), 'mask.png')
  })
  t.equal(status, 200)
  const { init_images: images, mask, ...rest } = json.body as Record<string, unknown>
  t.same(rest, {
    prompt: '{"red"|"blue"} cat [a:b:0.5]',
    steps: '20',
    override_settings: { CLIP_stop_at_last_layers: 2 },
    styles: ['a', 'b'],
    alwayson_scripts: { x: { args: [1] } }
  })
  const stored = await Promise.all([...images as string[], mask as string].map(async text => {
    const reference = texts.referenceOf(text)
    return reference === null ? null : await store.readInput(reference)
  }))
  t.same(stored, [png, jpeg, png])

  const nested = await postForm('/nested', form => {
    form.append('target_server_alias', 'one')
    form.append('init_images', file(png), 'a.png')
    form.append('generation_params', '{"prompt": "cat"}')
  })
  t.match(nested.json.body, { target_server_alias: 'one', generation_params: { prompt: 'cat', init_images: [String] } })
})

t.test('no client can forge the text that stands for an upload', t => {
  const texts = createUploadTexts(randomBytes(32))
  const reference = { $media: `${'a'.repeat(64)}.png` }
  const text = texts.textOf(reference)
  t.same(texts.referenceOf(text), reference)
  const forged = [
    text.replace('aaa', 'aab'), text.replace('.png', '.jpg'), text.slice(0, -1), `${text} `, text.replace(/.$/, '!'),
    'data:image/upload,../../key.AAAA', reference.$media, '', createUploadTexts(randomBytes(32)).textOf(reference)
  ]
  for (const other of forged) t.equal(texts.referenceOf(other), null, other)
  t.end()
})

t.test('a form beyond its limits is rejected with the field, and leaves no draft', async t => {
  const { postForm, postJson, drafts } = await serve(t)
  const noise = (size: number) => file(Buffer.concat([png, randomBytes(size)]))
  const cases: Array<[who: string, code: string, sentence: RegExp, fill: (form: FormData) => void]> = [
    ['a file that is no picture', 'invalid_image', /^mask is no image/, form => form.append('mask', file(randomBytes(500)), 'a.png')],
    ['a picture that was cut off', 'invalid_image', /^mask .*cut off/, form => form.append('mask', file(png.subarray(0, -12)), 'a.png')],
    ['a large picture', 'payload_too_large', /^mask is too large/, form => form.append('mask', noise(1_048_576), 'a.png')],
    ['a file in a foreign field', 'invalid_field_value', /^init_image cannot be a file.*init_images/, form => form.append('init_image', file(png), 'a.png')],
    ['two masks', 'invalid_field_value', /must be one file/, form => {
      form.append('mask', file(png), 'a.png')
      form.append('mask', file(png), 'b.png')
    }],
    ['a field twice over', 'invalid_field_value', /both a file and a field/, form => {
      form.append('generation_params', '{"mask": "text"}')
      form.append('mask', file(png), 'b.png')
    }],
    ['too many pictures', 'payload_too_large', /at most 3 images/, form => {
      for (let index = 0; index < 4; index++) form.append('init_images', file(png), `${index}.png`)
    }],
    ['a long field', 'payload_too_large', /^prompt can have at most/, form => form.append('prompt', 'a'.repeat(1_100_000))],
    ['deep JSON', 'malformed_request', /^generation_params is nested deeper/, form => form.append('generation_params', '{"a":'.repeat(100))],
    ['broken JSON in a part', 'malformed_request', /^styles is not JSON/, form => form.append('styles', new Blob(['[1'], { type: 'application/json' }))],
    ['JSON that is no object', 'invalid_field_value', /must be a JSON object/, form => {
      form.append('generation_params', '[]')
      form.append('mask', file(png), 'b.png')
    }]
  ]
  for (const [who, code, sentence, fill] of cases) {
    const { json } = await postForm('/nested', fill)
    t.match(json, { error: code, message: sentence }, who)
  }
  t.same(await drafts(), [])
  t.match(await postForm('/json', form => form.append('prompt', 'cat')), { status: 415, json: { error: 'unsupported_media_type' } })
  t.match(await postJson('prompt=cat', 'application/x-www-form-urlencoded'), { status: 415 })
})

t.test('a client that leaves during a file leaves no draft', async t => {
  const { port, drafts } = await serve(t)
  const socket = connect(port, '127.0.0.1')
  socket.write('POST /form HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n' +
    'Content-Length: 900000\r\n\r\n--x\r\nContent-Disposition: form-data; name="mask"; filename="a.png"\r\n\r\n')
  socket.write(randomBytes(100_000))
  await until(async () => (await drafts()).length === 1)
  socket.destroy()
  await until(async () => (await drafts()).length === 0)
  t.same(await drafts(), [])
})

t.test('a client whose form is rejected early can still read the reason', async t => {
  const { port } = await serve(t)
  const socket = connect(port, '127.0.0.1')
  const bytes = Buffer.concat([
    Buffer.from('--x\r\nContent-Disposition: form-data; name="other"; filename="a.png"\r\n\r\n'),
    randomBytes(3_000_000), Buffer.from('\r\n--x--\r\n')
  ])
  socket.write(`POST /form HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: ${bytes.length}\r\n\r\n`)
  socket.write(bytes)
  t.match(await readText(socket), /^HTTP\/1\.1 400 [^]*other cannot be a file/)
})

/** Waits for a change in another part of the service; tap's time limit ends it. */
async function until (condition: () => Promise<boolean>): Promise<void> {
  while (!await condition()) await new Promise(resolve => setImmediate(resolve))
}
