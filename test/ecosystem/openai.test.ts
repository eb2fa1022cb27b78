import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import { startService } from '../helper.ts'
import { tool } from './tool.ts'

const node = tool('openaiNode')
const python = tool('openaiPython')
const service = await startService(t, { simulator: { stepMilliseconds: 30 }, settings: { JOB_ATTEMPTS: '1', RATE_LIMIT_PER_MINUTE: '0' } })
const { secret } = await service.services.accessKeys.create({ name: 'a client of OpenAI' })
const folder = mkdtempSync(join(tmpdir(), 'sq-openai-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

const photo = join(folder, 'photo.png')
const mask = join(folder, 'mask.png')
writeFileSync(photo, await sharp({ create: { width: 96, height: 64, channels: 3, background: '#36c' } }).png().toBuffer())
const clear = { r: 0, g: 0, b: 0, alpha: 0 }
writeFileSync(mask, await sharp({ create: { width: 96, height: 64, channels: 4, background: clear } }).png().toBuffer())

const environment = { ...process.env, OPENAI_API_KEY: secret, OPENAI_BASE_URL: `${service.url}/v1`, PHOTO: photo, MASK: mask }

/** What a program prints. Asynchronous, because the service answers in this process. */
async function linesOf (program: string, parameters: readonly string[]): Promise<string[]> {
  const { stdout } = await promisify(execFile)(program, parameters, { cwd: folder, timeout: 180_000, env: environment })
  // the transcript, for a run that shows it
  if (process.env.SHOW_TRANSCRIPTS) process.stderr.write(stdout)
  return stdout.trim().split('\n')
}

/** Every program prints the same. */
function check (t: Pick<Test, 'match'>, lines: readonly string[]): void {
  for (const [index, wanted] of [
    /^models [1-9]\d* \S+/,
    /^retrieved \S+/,
    /^generated 2 128x64 low 89504e47/,
    /^link 200 ffd8ffe/,
    /^edited 1 96x64 89504e47/,
    /^masked 1 96x64/,
    /^varied 1 96x64/,
    /^stream image_generation\.partial_image:0,(?:image_generation\.partial_image:1,)?image_generation\.completed:$/,
    /^edit stream image_edit\.completed$/,
    /^repeat true$/,
    /^NotFoundError 404 model_not_found model$/,
    /^BadRequestError 400 invalid_value size$/,
    /^BadRequestError 400 unknown_parameter negative_prompt$/,
    /^AuthenticationError 401 invalid_api_key (?:null|None)$/,
    /^InternalServerError 500 1 request$/
  ].entries()) t.match(lines[index] ?? '', wanted)
}

const nodeProgram = `
import fs from 'node:fs'
import OpenAI from 'openai'
const client = new OpenAI()
const show = base64 => Buffer.from(base64, 'base64').toString('hex', 0, 4)
const models = []
for await (const model of client.models.list()) models.push(model)
console.log('models', models.length, models[0].id)
console.log('retrieved', (await client.models.retrieve(models[0].id)).id)
const some = await client.images.generate({ model: models[0].id, prompt: 'a lighthouse', n: 2, size: '128x64', quality: 'low', response_format: 'b64_json', user: 'ann' })
console.log('generated', some.data.length, some.size, some.quality, show(some.data[0].b64_json))
const linked = await client.images.generate({ prompt: 'a lighthouse', size: '64x64', quality: 'low', response_format: 'url', output_format: 'jpeg' })
const got = await fetch(linked.data[0].url)
console.log('link', got.status, Buffer.from(await got.arrayBuffer()).toString('hex', 0, 4))
const photo = () => fs.createReadStream(process.env.PHOTO)
const edited = await client.images.edit({ image: photo(), prompt: 'a door', quality: 'low' })
console.log('edited', edited.data.length, edited.size, show(edited.data[0].b64_json))
const masked = await client.images.edit({ image: [photo()], mask: fs.createReadStream(process.env.MASK), prompt: 'a door', quality: 'low' })
console.log('masked', masked.data.length, masked.size)
const varied = await client.images.createVariation({ image: photo(), n: 1 })
console.log('varied', varied.data.length, varied.size)
const events = []
for await (const event of await client.images.generate({ prompt: 'slow', size: '128x128', stream: true, partial_images: 2 })) events.push(event.type + ':' + (event.partial_image_index ?? ''))
console.log('stream', events.join())
const edits = []
for await (const event of await client.images.edit({ image: photo(), prompt: 'a door', quality: 'low', stream: true })) edits.push(event.type)
console.log('edit stream', edits.join())
const repeat = async () => (await client.images.generate({ prompt: 'x', size: '64x64', quality: 'low' }, { headers: { 'Idempotency-Key': 'n' } }).asResponse()).headers.get('x-job-id')
console.log('repeat', await repeat() === await repeat())
const failure = async work => { try { await work() } catch (error) { console.log(error.constructor.name, error.status, error.code, error.param) } }
await failure(() => client.images.generate({ model: 'nope', prompt: 'x' }))
await failure(() => client.images.generate({ prompt: 'x', size: '100x100' }))
await failure(() => client.images.generate({ prompt: 'x', negative_prompt: 'y' }))
await failure(() => new OpenAI({ apiKey: 'sk-wrong' }).models.list())
let requests = 0
const counting = new OpenAI({ fetch: (...given) => { requests++; return fetch(...given) } })
try { await counting.images.generate({ prompt: 'fail', size: '64x64', quality: 'low' }) } catch (error) { console.log(error.constructor.name, error.status, requests, 'request') }
`

const pythonProgram = `
import base64, os, urllib.request
import httpx2
import openai
from openai import OpenAI
client = OpenAI()
show = lambda text: base64.b64decode(text)[:4].hex()
models = list(client.models.list())
print('models', len(models), models[0].id)
print('retrieved', client.models.retrieve(models[0].id).id)
some = client.images.generate(model=models[0].id, prompt='a lighthouse', n=2, size='128x64', quality='low', response_format='b64_json', user='ann')
print('generated', len(some.data), some.size, some.quality, show(some.data[0].b64_json))
linked = client.images.generate(prompt='a lighthouse', size='64x64', quality='low', response_format='url', output_format='jpeg')
with urllib.request.urlopen(linked.data[0].url) as got:
    print('link', got.status, got.read()[:4].hex())
photo = lambda: open(os.environ['PHOTO'], 'rb')
edited = client.images.edit(image=photo(), prompt='a door', quality='low')
print('edited', len(edited.data), edited.size, show(edited.data[0].b64_json))
masked = client.images.edit(image=[photo()], mask=open(os.environ['MASK'], 'rb'), prompt='a door', quality='low')
print('masked', len(masked.data), masked.size)
varied = client.images.create_variation(image=photo(), n=1)
print('varied', len(varied.data), varied.size)
print('stream', ','.join(f"{event.type}:{getattr(event, 'partial_image_index', '')}" for event in client.images.generate(prompt='slow', size='128x128', stream=True, partial_images=2)))
print('edit stream', ','.join(event.type for event in client.images.edit(image=photo(), prompt='a door', quality='low', stream=True)))
repeat = lambda: client.images.with_raw_response.generate(prompt='x', size='64x64', quality='low', extra_headers={'Idempotency-Key': 'p'}).headers['x-job-id']
print('repeat', str(repeat() == repeat()).lower())
def failure(work):
    try:
        work()
    except openai.APIStatusError as error:
        print(type(error).__name__, error.status_code, error.code, error.param)
failure(lambda: client.images.generate(model='nope', prompt='x'))
failure(lambda: client.images.generate(prompt='x', size='100x100'))
failure(lambda: client.images.generate(prompt='x', extra_body={'negative_prompt': 'y'}))
failure(lambda: OpenAI(api_key='sk-wrong').models.list())
requests = []
counting = OpenAI(http_client=httpx2.Client(event_hooks={'request': [requests.append]}))
try:
    counting.images.generate(prompt='fail', size='64x64', quality='low')
except openai.APIStatusError as error:
    print(type(error).__name__, error.status_code, len(requests), 'request')
`

service.simulator.setFaults([
  { kind: 'runtime-error', message: 'the cat sat on the GPU', prompt: 'fail', sticky: true },
  // so long that there are previews, also on a busy machine
  { kind: 'slow', factor: 8, prompt: 'slow', sticky: true }
])

t.test('OpenAI\'s package for Node generates, edits, varies, streams, and understands errors', { skip: node.skip }, async t => {
  symlinkSync(join(node.path, 'node_modules'), join(folder, 'node_modules'))
  writeFileSync(join(folder, 'main.mjs'), nodeProgram)
  check(t, await linesOf(process.execPath, ['main.mjs']))
})

t.test('and its package for Python, too', { skip: python.skip }, async t => {
  writeFileSync(join(folder, 'main.py'), pythonProgram)
  check(t, await linesOf(python.path, ['main.py']))
})

t.end()
