/**
 * Takes the screenshots of the web UI for the README and docs: `node web/screenshots/take.mjs`. It starts a service of
 * its own with two simulated servers, submits some jobs and takes the screenshots with the system's Chromium, and the
 * animated picture `queue.webp` from pictures of the queue while jobs run. `node web/screenshots/take.mjs queue` takes
 * only those that have this name.
 */
import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import sharp from 'sharp'

const [only] = process.argv.slice(2)
const folder = dirname(fileURLToPath(import.meta.url))
const launcher = join(folder, '../../src/launch.mjs')
const data = await mkdtemp(join(tmpdir(), 'sq-pictures-'))
const children = []

/** Starts one of our commands and resolves with the address that it prints. */
async function start (args, environment = {}) {
  const child = spawn(process.execPath, [launcher, ...args], {
    env: { ...process.env, LOG_LEVEL: 'silent', ...environment }, stdio: ['ignore', 'pipe', 'inherit']
  })
  children.push(child)
  for await (const line of createInterface({ input: child.stdout })) {
    const [address] = /http:\/\/127\.0\.0\.1:\d+/.exec(line) ?? []
    if (address !== undefined) {
      child.stdout.resume()
      return address
    }
  }
  throw new Error(`${args[0]} ended without an address`)
}

const prompts = [
  'a lighthouse on a cliff at dusk, calm sea, soft light', 'old harbour town at sunrise, fishing boats, wide angle',
  'macro photograph of dew on a spider web, morning light', 'isometric cutaway of a tiny library, paper craft',
  'mountain lake in autumn, mist, long exposure', 'a red tram in the snow, evening, street lights',
  'terraced rice fields after rain, aerial view', 'desert road at noon, heat haze, film grain'
]
const checkpoints = ['dreamscape-v8.safetensors', 'realistic-vision-v6.safetensors', 'sdxl/juggernaut-xl.safetensors']

/** Model files that contain only a header, so that the catalogue has entries with previews. */
const shownModels = [
  'Stable-diffusion/dreamscape-v8', 'Stable-diffusion/realistic-vision-v6', 'Stable-diffusion/anime-pastel',
  'Stable-diffusion/sdxl/juggernaut-xl', 'Lora/add-detail', 'Lora/film-grain', 'Lora/watercolor-style', 'Lora/xl/pixel-art-xl'
]

async function putModel (name, seed, picture) {
  const path = join(data, 'models', name)
  const header = Buffer.from(JSON.stringify({ __metadata__: { seed: String(seed) } }))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  await mkdir(dirname(path), { recursive: true })
  await writeFile(`${path}.safetensors`, Buffer.concat([length, header]))
  await writeFile(`${path}.preview.png`, picture)
}

/** Frames of the animated picture, and the time between two, in milliseconds. */
const frames = 24
const frameTime = 500

/** The queue while jobs run, one is moved to the front and one is submitted, as an animated WebP. */
async function takeAnimation (browser, url, submit) {
  const context = await browser.newContext({ viewport: { width: 1040, height: 660 }, reducedMotion: 'reduce' })
  const page = await context.newPage()
  await page.goto(`${url}/#/queue`)
  await page.locator('.jobs.running .job').first().waitFor()
  const pictures = []
  for (let index = 0; index < frames; index++) {
    const end = Date.now() + frameTime
    if (index === 4) await submit('Studio', prompts[2], { steps: 60, width: 768, height: 512 })
    if (index === 10) await page.getByRole('button', { name: /^Move to the end: / }).first().click()
    if (index === 16) await page.getByRole('button', { name: /^Run now: / }).last().click()
    pictures.push(await page.screenshot())
    await new Promise(resolve => { setTimeout(resolve, Math.max(0, end - Date.now())) })
  }
  await context.close()
  await sharp(pictures, { join: { animated: true } })
    .webp({ quality: 60, effort: 4, loop: 0, delay: pictures.map(() => frameTime), minSize: true })
    .toFile(join(folder, 'queue.webp'))
}

async function main () {
  const fast = await start(['simulator', '--port', '0', '--speed', '30'])
  const slow = await start(['simulator', '--port', '0', '--speed', '1.2', '--fault-seed', '2'])
  const url = await start(['start'], {
    PORT: '0', DATA_DIR: data, SIMULATOR: 'off', SERVERS: `Studio=${fast},Attic=${slow}`, REDIS_URL: '', HOST: '127.0.0.1', MODELS_DIR: join(data, 'models')
  })
  const ask = async (method, path, body) => {
    const response = await fetch(url + path, {
      method, headers: body === undefined ? {} : { 'content-type': 'application/json' }, body: body && JSON.stringify(body)
    })
    return await response.json()
  }
  const submit = async (alias, prompt, more = {}) => (await ask('POST', '/api/v2/generate', {
    target_server_alias: alias, generation_params: { prompt, steps: 24, width: 768, height: 512, ...more }
  })).id
  const until = async (id, isRight) => {
    for (;;) {
      const { job } = await ask('GET', `/api/v2/jobs/${id}`)
      if (isRight(job)) return job
      await new Promise(resolve => { setTimeout(resolve, 200) })
    }
  }
  const ended = ({ status }) => ['completed', 'failed', 'cancelled'].includes(status)

  await ask('PUT', '/api/v1/servers/Studio', { description: 'Under the desk' })
  await ask('PUT', '/api/v1/servers/Attic', { description: 'The old card' })
  await ask('POST', '/api/v1/api-keys', { name: 'Forge on the big machine', description: 'Batch renders at night' })
  await ask('POST', '/api/v1/api-keys', { name: 'Discord bot', scopes: ['jobs:write', 'jobs:read', 'images:read'] })
  const done = []
  for (const [index, prompt] of prompts.entries()) {
    const size = [[768, 512], [512, 768], [640, 640]][index % 3]
    done.push(await submit('Studio', prompt, {
      width: size[0], height: size[1], checkpoint_name: checkpoints[index % 3], negative_prompt: 'blurry, text', seed: 1000 + index
    }))
  }
  const four = await submit('Studio', prompts[0], { n_iter: 4, width: 640, height: 448, negative_prompt: 'blurry, text' })
  const cancelled = await submit('Attic', 'sketch of a bicycle')
  await ask('POST', `/api/v2/jobs/${cancelled}/cancel`)
  for (const id of [...done, four, cancelled]) await until(id, ended)
  for (const [index, name] of shownModels.entries()) {
    const { job } = await ask('GET', `/api/v2/jobs/${done[index % done.length]}`)
    await putModel(name, index, Buffer.from(await (await fetch(url + job.images[0].url)).arrayBuffer()))
  }
  await ask('POST', '/api/v1/models/scan')
  await submit('Attic', prompts[1], { steps: 60 })
  const running = await submit('Attic', prompts[3], { steps: 150, width: 1024, height: 768, n_iter: 4 })
  await ask('POST', '/api/v2/generate/bulk', {
    target_server_alias: 'Attic', bulk_quantity: 3, generation_params: { prompt: prompts[6], steps: 40, width: 768, height: 512 }
  })
  for (const prompt of prompts.slice(4)) await submit('Attic', prompt, { steps: 40 })
  await until(running, ({ progress }) => progress > 0.17)
  const long = await submit('Studio', prompts[2], { steps: 150, width: 1024, height: 768, n_iter: 40 })

  // The service that runs by now has been built.
  const { findProgram } = await import('../../dist/src/redis/private/install.js')
  const found = findProgram(['chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome'])
  const browser = await chromium.launch({
    executablePath: process.env.STABLEQUEUE_TEST_CHROMIUM ?? found, args: ['--no-sandbox', '--disable-gpu']
  })
  try {
    const variants = { light: {}, dark: { colorScheme: 'dark' }, phone: { isMobile: true, hasTouch: true, viewport: { width: 375, height: 780 } } }
    const take = async (name, hash, look, act = async () => {}) => {
      if (only !== undefined && only !== name) return
      const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...variants[look] })
      const page = await context.newPage()
      await page.goto(`${url}/#/${hash}`)
      await page.getByText('Loading…').first().waitFor({ state: 'detached' })
      await act(page)
      await page.waitForTimeout(1500)
      // 256 colours are enough and need a third of the size.
      await sharp(await page.screenshot()).png({ palette: true, quality: 90 }).toFile(join(folder, `${name}.png`))
      await context.close()
    }
    const write = async page => {
      await page.locator('textarea[name=prompt]').fill(prompts[5])
      await page.getByRole('button', { name: 'Add a LoRA' }).click()
      await page.locator('.model-card').first().click()
      await page.getByLabel('Server', { exact: true }).selectOption('Studio')
      await page.getByRole('button', { name: 'Submit job' }).click()
      await page.locator('.result .images img').waitFor()
      await page.getByRole('button', { name: 'No, thanks' }).click()
    }
    const listed = async page => { await page.locator('.jobs.running .job img').last().waitFor() }
    await take('queue', 'queue', 'light', listed)
    await take('queue-dark', 'queue', 'dark', listed)
    await take('queue-phone', 'queue', 'phone', listed)
    if (only === undefined || only === 'queue.webp') await takeAnimation(browser, url, submit)
    await take('job', `job/${four}`, 'light')
    await ask('POST', `/api/v2/jobs/${long}/cancel`)
    await until(long, ended)
    await ask('DELETE', `/api/v2/jobs/${long}`)
    await take('create', 'create', 'light', write)
    await take('create-phone', 'create', 'phone')
    await take('servers', 'servers', 'dark')
    await take('keys', 'keys', 'light')
    const drawn = async page => { await page.locator('.tile img').last().evaluate(image => image.decode()) }
    await take('gallery', 'gallery', 'light', drawn)
    await take('models', 'models?type=checkpoint', 'dark')
    await take('settings', 'settings', 'light')
  } finally {
    await browser.close()
  }
}

try {
  await main()
} finally {
  for (const child of children.toReversed()) {
    child.kill('SIGTERM')
    if (child.exitCode === null) await new Promise(resolve => { child.once('exit', resolve) })
  }
  await rm(data, { recursive: true, force: true })
}
