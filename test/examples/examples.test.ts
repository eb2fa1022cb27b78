import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import sharp from 'sharp'
import t from 'tap'
import { createBot } from '../../examples/bot.ts'
import { createClient } from '../../examples/client.ts'
import { startService } from '../helper.ts'
import { inRepository } from '../root.ts'

const run = promisify(execFile)
const service = await startService(t, { settings: { STUDIO_JOBS_PER_USER: '0' } })
const folder = await mkdtemp(join(tmpdir(), 'sq-examples-'))
t.teardown(() => rm(folder, { recursive: true, force: true }))
const image = join(folder, 'pose.png')
await writeFile(image, await sharp({ create: { width: 64, height: 64, channels: 3, background: 'navy' } }).png().toBuffer())
const python = async (...args: string[]) =>
  await run('python3', [join(process.cwd(), 'examples/client.py'), service.url, ...args])

t.test('the Python client generates from a prompt, from an image and with ControlNet', async t => {
  const file = join(folder, 'python.png')
  const { stdout } = await python('a lighthouse at dusk', file, '--steps', '2')
  t.match(stdout, /completed, 100 %/)
  t.match(await sharp(await readFile(file)).metadata(), { format: 'png', width: 512 })
  await python('a dancer', file, '--steps', '2', '--image', image, '--control', 'control_v11p_sd15_openpose', '--preprocessor', 'openpose')
  await python('the same in winter', file, '--steps', '2', '--image', image)
  t.match(await sharp(await readFile(file)).metadata(), { width: 64 })
  await t.rejects(python('x', file, '--steps', '200'), { code: 1, stderr: /There is no image: steps: Input should be less than or equal to 150/ })
})

t.test('the program of the README submits a job and saves its image', async t => {
  const image = async (url: string) => await run(process.execPath, [inRepository('examples/first-picture.mjs'), 'a red car'], {
    cwd: folder, env: { PATH: process.env.PATH, STABLEQUEUE_URL: url }
  })
  const file = join(folder, 'first-picture.png')
  t.match((await image(service.url)).stdout, `Saved ${file}.`)
  t.match(await sharp(await readFile(file)).metadata(), { format: 'png', width: 512, height: 512 })
  await t.rejects(image('http://127.0.0.1:9'), { code: 1, stderr: /Nothing answers at .*: npm start/ })
})

t.test('users, presets and LoRAs of the older server are imported', async t => {
  const data = join(folder, 'data')
  await mkdir(data)
  const files = {
    'sessions.json': {
      mia: {
        user_id: 'mia',
        active_loras: { 'film-grain.safetensors': 0.8 },
        controlnet_configs: [],
        custom_settings: { default_steps: 12 },
        last_updated: '2025-01-04T12:00:00.123456'
      },
      'nils/2': { user_id: 'nils/2', active_loras: { x: 99 }, controlnet_configs: [], custom_settings: {}, last_updated: null }
    },
    'presets.json': {
      mia: { 'id-1': { preset_id: 'id-1', name: 'Soft', config: { steps: 30 }, created_at: '2025-01-04T12:00:00', last_used: null } }
    },
    'loras.json': {
      loras: [
        { filename: 'film-grain', name: 'My film', tags: [], trigger_words: ['grainy'], strength_range: [0.4, 0.8], description: null, thumbnail: null, civitai_id: 7 },
        { filename: 'gone.safetensors', name: 'Gone', tags: ['x'] }
      ],
      last_updated: null,
      version: '1.0'
    }
  }
  for (const [name, content] of Object.entries(files)) await writeFile(join(data, name), JSON.stringify(content))
  const { stdout } = await run('python3', [join(process.cwd(), 'examples/move.py'), data, service.url])
  t.match(stdout, /mia: Imported session and 1 presets/)
  t.match(stdout, /nils\/2 was not imported: session\.active_loras\.x: Input should be less than or equal to 2/)
  t.match(stdout, /gone\.safetensors was not imported/)
  t.match((await service.request('GET', '/sessions/mia')).body, { active_loras: { 'film-grain.safetensors': 0.8 }, custom_settings: { default_steps: 12 } })
  t.match((await service.request('GET', '/presets/mia')).body, { presets: [{ name: 'Soft', config: { steps: 30 } }] })
  t.match((await service.request('GET', '/loras/film-grain')).body, { name: 'My film', trigger_words: ['grainy'], civitai_id: 7, tags: Array })
  await service.request('PATCH', '/loras/film-grain', { name: null })
})

t.test('the bot remembers LoRAs, generates for several users and reports errors', async t => {
  const said: string[] = []
  const bot = createBot({
    client: createClient({ url: service.url, pause: 1 }), say: message => { said.push(message) }, folder: join(folder, 'bot')
  })
  const says = async (line: string, pattern: RegExp) => {
    await bot.handle(line)
    t.match(said.at(-1), pattern, line)
  }
  await says('hello', /Try one of these/)
  await says('@ann /loras grain', /film-grain\.safetensors/)
  await says('@ann /lora film 0.5', /Film Grain from now on, with weight 0.5/)
  await says('@ann /lora-current', /film-grain\.safetensors 0.5/)
  await says('@bob /lora-current', /No LoRA/)
  await says('@ann /lora film 9', /weight: Input should be less than or equal to 2/)
  await bot.handle('@ann /dream a lighthouse')
  await bot.handle('@bob /regional vertical | at night | a wolf | a hare')
  await bot.handle(`@bob /redream ${image} the same in winter`)
  await bot.idle()
  t.ok(said.some(message => /^@ann completed, 100 %/.test(message)))
  t.equal((await readdir(join(folder, 'bot'))).length, 3)
  await says('@bob /regional diagonal | x | a | b', /layout/)
  await says('@ann /lora-clear', /cleared/)
  service.simulator.setFaults([{ kind: 'hang', sticky: true }])
  await bot.handle('@ann /dream something slow')
  await bot.handle('@ann /cancel')
  service.simulator.setFaults([])
  await bot.idle()
  t.match(said.at(-1), /@ann failed.*cancelled/)
})
