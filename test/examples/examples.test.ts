import { execFile } from 'node:child_process'
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import sharp from 'sharp'
import t from 'tap'
import { createBot } from '../../examples/bot.ts'
import { createClient } from '../../examples/client.ts'
import { startService } from '../helper.ts'

const run = promisify(execFile)
const service = await startService(t, { settings: { STUDIO_JOBS_PER_USER: '0' } })
const folder = await mkdtemp(join(tmpdir(), 'sq-examples-'))
t.teardown(() => rm(folder, { recursive: true, force: true }))
const picture = join(folder, 'pose.png')
await writeFile(picture, await sharp({ create: { width: 64, height: 64, channels: 3, background: 'navy' } }).png().toBuffer())
const python = async (...args: string[]) =>
  await run('python3', [join(process.cwd(), 'examples/client.py'), service.url, ...args])

t.test('the Python client draws from words, from a picture and under control', async t => {
  const file = join(folder, 'python.png')
  const { stdout } = await python('a lighthouse at dusk', file, '--steps', '2')
  t.match(stdout, /completed, 100 %/)
  t.match(await sharp(await readFile(file)).metadata(), { format: 'png', width: 512 })
  await python('a dancer', file, '--steps', '2', '--image', picture, '--control', 'control_v11p_sd15_openpose', '--preprocessor', 'openpose')
  await python('the same in winter', file, '--steps', '2', '--image', picture)
  t.match(await sharp(await readFile(file)).metadata(), { width: 64 })
  await t.rejects(python('x', file, '--steps', '200'), { code: 1, stderr: /not drawn: steps: Input should be less than or equal to 150/ })
})

t.test('the bot remembers LoRAs, draws for several users and says what goes wrong', async t => {
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
  await bot.handle(`@bob /redream ${picture} the same in winter`)
  await bot.idle()
  t.ok(said.some(message => /^@ann completed, 100 %/.test(message)))
  t.equal((await readdir(join(folder, 'bot'))).length, 3)
  await says('@bob /regional diagonal | x | a | b', /layout/)
  await says('@ann /lora-clear', /forgotten/)
  service.simulator.setFaults([{ kind: 'hang', sticky: true }])
  await bot.handle('@ann /dream something slow')
  await bot.handle('@ann /cancel')
  service.simulator.setFaults([])
  await bot.idle()
  t.match(said.at(-1), /@ann failed.*cancelled/)
})
