// A process of its own: it measures CPU.
import { crc32, deflateSync } from 'node:zlib'
import sharp from 'sharp'
import t from 'tap'
import { readInfotext } from '../../src/a1111/pasted-parameters.ts'
import { startService } from '../helper.ts'

/** Letters. If the work grows with the square, it is sixteen times that of a quarter of the letters. */
const long = 50_000
const short = long / 4
/** Less work than this is not measured, in microseconds of CPU: other parts of the process need as much. */
const soon = 300_000
const maxGrowth = 10

const repeated = (piece: string) => (length: number) => piece.repeat(Math.ceil(length / piece.length)).slice(0, length)
const families: Readonly<Record<string, (length: number) => string>> = {
  'one letter': repeated('a'),
  'one digit': length => `${'1'.repeat(length - 1)}x`,
  blanks: length => `a${' '.repeat(length - 2)}a`,
  'line breaks': length => `a${'\n'.repeat(length - 2)}a`,
  'beginnings of tags': repeated('<lora:'),
  'tags of LoRAs': repeated('<lora:a:1>'),
  parentheses: length => '('.repeat(length / 2) + ')'.repeat(length / 2),
  brackets: repeated('[a:[b|'),
  'opening signs': repeated('<[{("'),
  quotes: repeated('a:"\\"'),
  slashes: repeated('\\/'),
  'commas and colons': repeated('a:b, '),
  parameters: repeated('Steps: 20, Size: 1x1, '),
  'lines of parameters': repeated('Steps: 20\nNegative prompt: '),
  keywords: repeated('BREAK ADDCOL AND '),
  'data URLs': repeated('data:image/png;base64,'),
  base64: length => `${'A+/='.repeat(length / 4 - 1)}====`,
  'combining signs': repeated('a\u0301\u0302\u0303'),
  'names of fields': repeated('__proto__.'),
  'hashes of names': repeated(' [0123456789')
}

const service = await startService(t, { worker: 'none', settings: { CIVITAI_BASE_URL: 'http://127.0.0.1:9/api', CIVITAI_INTERVAL_SECONDS: '0.01' } })

/** CPU time of this process, in which the service runs, in microseconds. */
async function cost (work: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  return user + system
}

/** Null if the work does not grow with the square of the text. */
async function growth (work: (length: number) => Promise<unknown>): Promise<string | null> {
  const once = await cost(async () => await work(long))
  if (once < soon) return null
  const small = Math.min(await cost(async () => await work(short)), await cost(async () => await work(short)))
  const large = Math.min(once, await cost(async () => await work(long)))
  return large < soon || large < small * maxGrowth ? null : `${Math.round(small / 1000)} ms, then ${Math.round(large / 1000)} ms`
}

type Schema = Readonly<Record<string, unknown>> & { readonly properties?: Readonly<Record<string, Schema>> }

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}

interface Operation {
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> }
  readonly parameters?: ReadonlyArray<{ readonly name: string, readonly in: string, readonly schema: Schema }>
}

const { body: document } = await service.request('GET', '/docs/json') as unknown as { body: Document }

function resolved (schema: Schema): Schema {
  const name = typeof schema.$ref === 'string' ? schema.$ref.split('/').at(-1) ?? '' : ''
  return document.components.schemas[name] ?? schema
}

/** A value for a schema with the text at every possible position. */
function filled (given: Schema, text: string, depth = 0): unknown {
  const schema = resolved(given)
  const [either] = (schema.anyOf ?? schema.oneOf ?? schema.allOf ?? []) as Schema[]
  if (either !== undefined) return filled(either, text, depth)
  if (Array.isArray(schema.enum)) return schema.enum[0]
  if (schema.const !== undefined) return schema.const
  if (schema.type === 'string') {
    const fits = typeof schema.maxLength !== 'number' || schema.maxLength >= text.length
    if (fits && schema.pattern === undefined) return text
    return (schema.examples as string[] | undefined)?.[0] ?? text.slice(0, 30)
  }
  if (schema.type === 'array') return depth > 1 ? [] : [filled(schema.items as Schema, text, depth + 1)]
  if (schema.properties !== undefined && depth < 2) {
    return Object.fromEntries(Object.entries(schema.properties)
      .map(([name, inner]) => [name, filled(inner, text, depth + 1)]))
  }
  return (schema.examples as unknown[] | undefined)?.[0] ?? schema.default ?? (schema.type === 'object' ? {} : 1)
}

/** Letters for each route; the fields of generations get all of them. */
const usual = ['one letter', 'blanks', 'opening signs', 'parameters']
/** Routes whose effects would disturb the rest of this file. */
const dangerous = /reset-database|retention\/purge|queue-processing/

t.test('no route needs time in the square of a text\'s length', async t => {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) => Object.entries(methods)
    .filter(([method, { requestBody }]) => ['post', 'put', 'patch'].includes(method) && requestBody?.content['application/json'])
    .filter(() => !dangerous.test(path))
    .map(([method, operation]) => ({ method: method.toUpperCase(), path: path.replace(/\{\w+\}/g, 'a'), operation })))
  t.ok(operations.length > 20, `${operations.length} routes`)
  for (const { method, path, operation } of operations) {
    const schema = operation.requestBody?.content['application/json']?.schema ?? {}
    for (const family of usual) {
      const make = families[family] ?? String
      const slow = await growth(async length => await service.request(method, path, filled(schema, make(length))))
      if (slow !== null) t.fail(`${method} ${path}: ${family}: ${slow}`)
    }
  }
})

t.test('no field of a generation needs time in the square of a text\'s length', async t => {
  const places: Readonly<Record<string, (text: string) => [path: string, body: object]>> = {
    'a prompt': text => ['/api/v2/generate', { target_server_alias: 'Main', generation_params: { prompt: text } }],
    'a negative prompt': text => ['/api/v2/generate', { target_server_alias: 'Main', generation_params: { negative_prompt: text } }],
    'parameters as text': text => ['/api/v2/generate', { target_server_alias: 'Main', generation_info_raw: text }],
    'a checkpoint': text => ['/api/v2/generate', { target_server_alias: 'Main', generation_params: { checkpoint_name: text } }],
    'a number': text => ['/api/v2/generate', { target_server_alias: 'Main', generation_params: { steps: text } }],
    'an image': text => ['/api/v2/generate', { target_server_alias: 'Main', generation_params: { init_images: [text] } }],
    'a name of a field': text => ['/api/v2/generate', { target_server_alias: 'Main', generation_params: { [text]: 1 } }],
    'a script': text => ['/api/v2/generate', { target_server_alias: 'Main', generation_params: { alwayson_scripts: { [text]: { args: [text] } } } }],
    'A1111\'s prompt': text => ['/sdapi/v1/txt2img?async=1', { prompt: text }],
    'A1111\'s number': text => ['/sdapi/v1/txt2img?async=1', { prompt: 'a', cfg_scale: text }],
    'A1111\'s infotext': text => ['/sdapi/v1/txt2img?async=1', { infotext: text }],
    'A1111\'s image': text => ['/sdapi/v1/img2img?async=1', { init_images: [text] }],
    'a picture to be read': text => ['/sdapi/v1/png-info', { image: text }],
    'a text to be read': text => ['/api/v1/read-parameters', { text }],
    'a bot\'s prompt': text => ['/generate/txt2img', { user_id: 'ann', prompt: text }],
    'a bot\'s regions': text => ['/generate/txt2img', { user_id: 'ann', prompt: text, regional_config: { regions: [{ prompt: text }, { prompt: text }] } }],
    'a bot\'s LoRA': text => ['/generate/txt2img', { user_id: 'ann', prompt: 'a', loras: [{ name: text }] }]
  }
  for (const [place, make] of Object.entries(places)) {
    for (const [family, textOf] of Object.entries(families)) {
      const slow = await growth(async length => await service.request('POST', ...make(textOf(length))))
      t.equal(slow, null, `${family} in ${place}`)
    }
  }
})

t.test('neither do texts inside images, packed or not', async t => {
  for (const [family, textOf] of Object.entries(families)) {
    for (const kind of ['tEXt', 'zTXt', 'iTXt'] as const) {
      const slow = await growth(async length =>
        await service.request('POST', '/sdapi/v1/png-info', { image: (await imageWith(kind, textOf(length))).toString('base64') }))
      t.equal(slow, null, `${family} in ${kind}`)
    }
  }
})

t.test('the size of an unpacked text is limited', async t => {
  const image = (await imageWith('zTXt', 'a'.repeat(50_000_000))).toString('base64')
  t.ok(image.length < 100_000)
  t.match(await service.request('POST', '/sdapi/v1/png-info', { image }), { status: 200, body: { info: '' } })
})

t.test('neither do searches and headers', async t => {
  const paths = ['/api/v1/models?search=', '/loras?search=', '/api/v2/jobs?search=', '/api/v1/gallery?search=']
  for (const [family, textOf] of Object.entries(families)) {
    const text = (length: number) => encodeURIComponent(textOf(length / 10)).slice(0, length / 5)
    for (const path of paths) {
      const slow = await growth(async length => await service.request('GET', path + text(length).replace(/%.?$/, '')))
      t.equal(slow, null, `${family} in ${path}`)
    }
    for (const name of ['cookie', 'authorization', 'if-none-match', 'range', 'prefer', 'accept', 'last-event-id', 'x-stablequeue-server']) {
      const slow = await growth(async length => await service.request('GET', '/api/v1/models', undefined, {
        [name]: textOf(length / 10).replace(/[^\x21-\x7e]/g, ' ')
      }))
      t.equal(slow, null, `${family} in ${name}`)
    }
  }
})

t.test('parameters of an image are read like A1111\'s own pattern does', t => {
  const pattern = /\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)/g
  const pieces = ['a', 'Steps', ':', ': ', ',', ', ', '"', '\\', '\\"', ' ', '-', '/', '20', 'é', 'x', '\t', '{']
  let seed = 11
  for (let round = 0; round < 5000; round++) {
    let line = 'Ab: 1, Cd: 2, Ef: 3, '
    for (let length = round % 12; length > 0; length--) {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
      line += pieces[Math.floor(seed / 65_536) % pieces.length] ?? ''
    }
    const wanted = [...line.trim().matchAll(pattern)].map(([, name, value = '']) => [name, value.trim()])
      .filter(([, value = '']) => !value.startsWith('"') && !/^\d+x\d+$/.test(value))
    const found = Object.entries(readInfotext(line).parameters)
    const isLast = (name: string, index: number) => wanted.findLastIndex(([other]) => other === name) === index
    const missing = wanted.filter(([name = '', value], index) =>
      isLast(name, index) && !found.some(([other, text]) => other === name && text === value))
    if (missing.length > 0) t.same(missing, [], JSON.stringify(line))
  }
  t.end()
})

/** A PNG with a text under A1111's keyword. */
async function imageWith (kind: 'tEXt' | 'zTXt' | 'iTXt', text: string): Promise<Buffer> {
  const png = await sharp({ create: { width: 1, height: 1, channels: 3, background: 'white' } }).png().toBuffer()
  const head = { tEXt: [0], zTXt: [0, 0], iTXt: [0, 1, 0, 0, 0] }[kind]
  const bytes = Buffer.from(text, kind === 'iTXt' ? 'utf8' : 'latin1')
  const data = Buffer.concat([Buffer.from('parameters'), Buffer.from(head), kind === 'tEXt' ? bytes : deflateSync(bytes)])
  const chunk = Buffer.alloc(data.length + 12)
  chunk.writeUInt32BE(data.length, 0)
  chunk.write(kind, 4, 'latin1')
  data.copy(chunk, 8)
  chunk.writeUInt32BE(crc32(chunk.subarray(4, data.length + 8)), data.length + 8)
  const end = png.length - 12
  return Buffer.concat([png.subarray(0, end), chunk, png.subarray(end)])
}
