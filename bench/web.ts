import { link, readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { chromium, type Browser, type CDPSession, type Page } from 'playwright-core'
import type { Job } from '../src/jobs/job.ts'
import { createJobStore } from '../src/jobs/store.ts'
import { createKeys } from '../src/lib/keys.ts'
import { findProgram } from '../src/redis/private/install.ts'
import { closeEverything, withEnvironment, type Environment } from './environment/environment.ts'
import { fill, nameOf } from './environment/fill.ts'
import { submission } from './environment/ordinary.ts'
import { measureCheckout } from './environment/product.ts'
import { fillDial, recordsOnly } from './environment/records-only.ts'
import { startService } from './environment/service.ts'
import { until } from './environment/until.ts'
import { startUpstream } from './environment/upstream.ts'
import { median } from './statistics.ts'

/**
 * The web UI in Chromium with many jobs and images: what a first visit over a slow network needs, and what a tab uses
 * while jobs run all the time: `node bench/web.mjs [--minutes 10] [--jobs 10000] [--before <checkout>]`.
 */

/** Each job has two images. */
const imagesOfJob = 2
/** Visits of each page with an empty cache; their medians count. */
const visits = 3
/** The network of a first visit, as Chromium's own preset "Slow 4G": bytes a second, and milliseconds. */
const slowNetwork = { offline: false, latency: 150, downloadThroughput: 1_600_000 / 8, uploadThroughput: 750_000 / 8 }
/** Milliseconds between two jobs of a busy service, and between two looks at the tab. */
const betweenJobs = 1500
const betweenLooks = 5000
/** Milliseconds that the tab stays on a page before it goes to the next one. */
const stay = 15_000

/** The pages of a first visit, and what shows that their content is there. */
const firstPages = [
  { name: 'Queue', hash: '', content: '.job' },
  { name: 'All jobs', hash: 'queue?status=all', content: '.job' },
  { name: 'Gallery', hash: 'gallery', content: '.tile img' }
] as const

export async function main (words: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...words],
    options: {
      minutes: { type: 'string', default: '10' }, jobs: { type: 'string', default: '10000' }, before: { type: 'string' }
    }
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => { closeEverything().finally(() => process.exit(130)) })
  }
  const [minutes, jobs] = [Number(values.minutes), Number(values.jobs)]
  const checkouts = [['now', undefined], ...values.before === undefined ? [] : [['before', values.before] as const]] as const
  for (const [name, checkout] of checkouts) {
    measureCheckout(checkout)
    process.stdout.write(`## ${name}: ${jobs} jobs, ${jobs * imagesOfJob} images, ${minutes} minutes busy\n\n`)
    await withEnvironment(async environment => { await measure(environment, jobs, minutes) })
  }
  return 0
}

async function measure (environment: Environment, jobs: number, minutes: number): Promise<void> {
  const upstreams = await Promise.all(['Main', 'Other'].map(async alias =>
    [alias, (await startUpstream(environment, { kind: 'simulator', options: { stepMilliseconds: 60 } })).url] as const))
  const { caller, url } = await startService(environment, {
    command: 'start', servers: Object.fromEntries(upstreams), settings: { SIMULATOR: 'off' }
  })
  const registered = await caller.get('/api/v1/servers') as Array<{ id: string }>
  const submit = async (alias: string) => await caller.post('/api/v2/generate', submission(alias)) as { id: string }
  const keys = createKeys('sq')
  const store = createJobStore({ redis: environment.redis, keys, queueEntries: recordsOnly, dial: fillDial })
  const { id } = await submit('Main')
  await until(async () => (await store.get(id)).status === 'completed', 'an ordinary job is completed')
  await fillWith(environment, await store.get(id), jobs, registered.map(server => server.id))

  const executablePath = process.env.STABLEQUEUE_TEST_CHROMIUM ??
    findProgram(['chromium', 'chromium-browser', 'google-chrome'])
  const browser = await chromium.launch({
    ...executablePath === undefined ? {} : { executablePath },
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync']
  })
  environment.onClose(async () => { await browser.close() })
  for (const page of firstPages) process.stdout.write(`${await firstVisit(browser, url, page)}\n`)

  const over = new AbortController()
  const work = keepBusy(async index => { await submit(index % 2 === 0 ? 'Main' : 'Other') }, over.signal)
  process.stdout.write(`${await busyTab(browser, url, minutes)}\n\n`)
  over.abort()
  await work
}

/** Jobs like that one, whose images are links to its image. */
async function fillWith (
  environment: Environment, like: Job, jobs: number, serverIds: readonly string[]
): Promise<void> {
  const [image] = like.result?.images ?? []
  if (like.result === null || image === undefined) throw new Error('the ordinary job has no image')
  const images = Array.from({ length: imagesOfJob }, () => image)
  const files = await readdir(environment.folder, { recursive: true })
  const file = files.find(path => path.endsWith(image.name))
  if (file === undefined) throw new Error(`there is no file ${image.name}`)
  const folder = dirname(join(environment.folder, file))
  for (let index = 0; index < jobs; index++) {
    await Promise.all(images.map(async ({ name }, place) => {
      await link(join(folder, name), join(folder, nameOf(name, index, place)))
    }))
  }
  await fill(environment.redis, { ...like, result: { ...like.result, images } }, {
    count: jobs, serverIds, keyIds: [null], endOf: () => 'completed', promptOf: index => `number ${index}, `
  })
}

/** A visit with an empty cache over a slow network: requests, bytes, first paint, time until content is there. */
async function firstVisit (
  browser: Browser, url: string, { name, hash, content }: typeof firstPages[number]
): Promise<string> {
  const seen: Array<{ requests: number, kilobytes: number, paint: number, there: number }> = []
  for (let count = 0; count < visits; count++) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 860 } })
    const page = await context.newPage()
    const devtools = await context.newCDPSession(page)
    await devtools.send('Network.enable')
    await devtools.send('Network.emulateNetworkConditions', slowNetwork)
    let [requests, bytes] = [0, 0]
    devtools.on('Network.requestWillBeSent', () => { requests++ })
    devtools.on('Network.loadingFinished', ({ encodedDataLength }) => { bytes += encodedDataLength })
    const begun = performance.now()
    await page.goto(`${url}/#/${hash}`)
    await page.locator(content).first().waitFor({ timeout: 120_000 })
    const there = performance.now() - begun
    const paint = await page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN") as number
    seen.push({ requests, kilobytes: bytes / 1000, paint, there })
    await context.close()
  }
  const middle = (of: (visit: typeof seen[number]) => number) => Math.round(median(seen.map(of)))
  return `${name}, first visit on a slow network: ${middle(visit => visit.requests)} requests and ` +
    `${middle(visit => visit.kilobytes)} kB until content is there, first paint after ${middle(visit => visit.paint)} ms, ` +
    `content after ${middle(visit => visit.there)} ms`
}

async function keepBusy (submit: (index: number) => Promise<void>, signal: AbortSignal): Promise<void> {
  for (let index = 0; !signal.aborted; index++) {
    await submit(index)
    await sleep(betweenJobs)
  }
}

/** A tab that shows the queue, all jobs and the gallery in turns, scrolls in them, and gets all events meanwhile. */
async function busyTab (browser: Browser, url: string, minutes: number): Promise<string> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 } })
  const page = await context.newPage()
  const devtools = await context.newCDPSession(page)
  await devtools.send('Performance.enable')
  await page.goto(url)
  await page.locator('.job').first().waitFor()
  await round(page, 1000)
  const before = await readAtQueue(page, devtools)
  const nodes: number[] = []
  const end = performance.now() + minutes * 60_000
  while (performance.now() < end) {
    await round(page, stay, async () => { nodes.push(await page.evaluate("document.querySelectorAll('*').length") as number) })
  }
  const after = await readAtQueue(page, devtools)
  await context.close()
  const busy = (after.TaskDuration - before.TaskDuration) / ((after.Timestamp - before.Timestamp) / 60)
  const megabytes = (bytes: number) => (bytes / 1024 / 1024).toFixed(1)
  return `Busy tab: heap ${megabytes(before.JSHeapUsedSize)} → ${megabytes(after.JSHeapUsedSize)} MiB, ` +
    `nodes of the browser ${before.Nodes} → ${after.Nodes}, listeners ${before.JSEventListeners} → ${after.JSEventListeners}, ` +
    `at most ${Math.max(0, ...nodes)} elements in the page, ${busy.toFixed(1)} s of processor time a minute`
}

/** Goes to each page once. @param look is called again and again meanwhile */
async function round (page: Page, milliseconds: number, look = async () => {}): Promise<void> {
  for (const { hash, content } of firstPages) {
    await page.evaluate(`window.location.hash = ${JSON.stringify(`#/${hash}`)}`)
    await page.locator(content).first().waitFor({ timeout: 60_000 })
    for (let passed = 0; passed < milliseconds; passed += betweenLooks) {
      await page.evaluate('window.scrollBy(0, 2000)')
      await sleep(Math.min(betweenLooks, milliseconds))
      await look()
    }
  }
}

type Metrics = Record<'JSHeapUsedSize' | 'Nodes' | 'JSEventListeners' | 'TaskDuration' | 'Timestamp', number>

/** What the tab uses on its first page after a collection of garbage. */
async function readAtQueue (page: Page, devtools: CDPSession): Promise<Metrics> {
  await page.evaluate("window.location.hash = '#/'")
  await page.locator('.tile').first().waitFor({ state: 'detached' })
  await page.locator('.job').first().waitFor()
  await sleep(2000)
  await devtools.send('HeapProfiler.collectGarbage')
  const { metrics } = await devtools.send('Performance.getMetrics')
  return Object.fromEntries(metrics.map(({ name, value }) => [name, value])) as Metrics
}
