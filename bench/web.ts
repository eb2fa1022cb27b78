import { link, readdir } from 'node:fs/promises'
import { loadavg } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { chromium, type Browser, type CDPSession, type Page } from 'playwright-core'
import type { Job } from '../src/jobs/job.ts'
import { createJobStore } from '../src/jobs/store.ts'
import { createKeys } from '../src/lib/keys.ts'
import { messageOf } from '../src/lib/errors.ts'
import { createSemaphore } from '../src/lib/semaphore.ts'
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
/** Milliseconds between two jobs of a busy service. */
const betweenJobs = 1500
/** Minutes of a busy service after which the tab is looked at, beside the last one. */
const lookAt = [0, 1, 5]
/** Milliseconds until a page has read and shown all. */
const settling = 2000
/** Rounds of a tab through its pages, scrolls on each, and the milliseconds between them. */
const rounds = 5
const scrolls = 4
const betweenScrolls = 400

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
  const earlier = values.before === undefined ? [] : [['before', values.before] as const]
  // Both at the same time, so that other programs of the machine disturb them alike.
  const measured = await Promise.all([...earlier, ['now', undefined] as const].map(async ([name, checkout]) =>
    await withEnvironment(async environment => ({ name, ...await measure(environment, { checkout, jobs, minutes }) }))))
  process.stdout.write(`${jobs} jobs, ${jobs * imagesOfJob} images, ${minutes} minutes busy\n\n${tableOf(measured)}`)
  return 0
}

interface FirstVisit {
  readonly requests: number
  readonly kilobytes: number
  /** Milliseconds until something, and until the content is there. */
  readonly paint: number
  readonly there: number
}

/** What was measured of one checkout. */
interface Measured {
  readonly name: string
  readonly visits: readonly FirstVisit[]
  readonly looks: readonly Look[]
  readonly rounds: string
  readonly jobs: number
  readonly load: number
}

interface Order {
  /** Folder of an earlier version; undefined for this one. */
  readonly checkout: string | undefined
  readonly jobs: number
  readonly minutes: number
}

/** First visits are measured one after another. */
const visiting = createSemaphore(1)

async function measure (
  environment: Environment, { checkout, jobs, minutes }: Order
): Promise<Omit<Measured, 'name'>> {
  const upstreams = await Promise.all(['Main', 'Other'].map(async alias =>
    [alias, (await startUpstream(environment, { kind: 'simulator', options: { stepMilliseconds: 60 } })).url] as const))
  // What starts next belongs to this checkout.
  measureCheckout(checkout)
  const { caller, url } = await startService(environment, {
    command: 'start', servers: Object.fromEntries(upstreams), settings: { SIMULATOR: 'off' }
  })
  const registered = await caller.get('/api/v1/servers') as Array<{ id: string }>
  const submit = async (alias: string) => await caller.post('/api/v2/generate', submission(alias)) as { id: string }
  const keys = createKeys('sq')
  const store = createJobStore({ redis: environment.redis, keys, queueEntries: recordsOnly, dial: fillDial })
  const { id } = await submit('Main')
  const ordinary = async () => (await caller.get(`/api/v2/jobs/${id}`) as { job: { status: string } }).job
  await until(async () => (await ordinary()).status === 'completed', 'an ordinary job is completed')
  await fillWith(environment, await store.get(id), jobs, registered.map(server => server.id))

  const executablePath = process.env.STABLEQUEUE_TEST_CHROMIUM ??
    findProgram(['chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome'])
  const browser = await chromium.launch({
    ...executablePath === undefined ? {} : { executablePath },
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync']
  })
  environment.onClose(async () => { await browser.close() })
  const seen: FirstVisit[] = []
  await visiting.run(async () => {
    for (const page of firstPages) seen.push(await firstVisit(browser, url, page))
  })

  const over = new AbortController()
  let submitted = 0
  const work = keepBusy(async index => {
    await submit(index % 2 === 0 ? 'Main' : 'Other')
    submitted++
  }, over.signal)
  const looks = await openQueue(browser, url, minutes)
  const meanwhile = submitted
  const wandering = await wanderingTab(browser, url).catch((error: unknown) => messageOf(error).split('\n')[0] ?? '')
  over.abort()
  await work
  return { visits: seen, looks, rounds: wandering, jobs: meanwhile, load: loadavg()[2] ?? NaN }
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

/** Visits with an empty cache over a slow network: requests, bytes, first paint, time until content is there. */
async function firstVisit (
  browser: Browser, url: string, { hash, content }: typeof firstPages[number]
): Promise<FirstVisit> {
  const seen: FirstVisit[] = []
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
  const middle = (of: (visit: FirstVisit) => number) => Math.round(median(seen.map(of)))
  return {
    requests: middle(visit => visit.requests),
    kilobytes: middle(visit => visit.kilobytes),
    paint: middle(visit => visit.paint),
    there: middle(visit => visit.there)
  }
}

async function keepBusy (submit: (index: number) => Promise<void>, signal: AbortSignal): Promise<void> {
  for (let index = 0; !signal.aborted; index++) {
    await submit(index)
    await sleep(betweenJobs)
  }
}

/** What a tab uses at one moment, after a collection of garbage. */
interface Look {
  readonly minute: number
  readonly heap: number
  /** Bytes of the objects and strings in it. The rest is compiled code, which grows for a while by itself. */
  readonly data: number
  readonly nodes: number
  readonly listeners: number
  readonly elements: number
  /** Processor time of the tab so far, and the time at which that was read, in seconds. */
  readonly busy: number
  readonly at: number
}

/** A tab that shows the queue. */
async function openTab (browser: Browser, url: string) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 } })
  const page = await context.newPage()
  const devtools = await context.newCDPSession(page)
  await devtools.send('Performance.enable')
  await page.goto(url)
  await page.locator('.job').first().waitFor()
  return { context, page, devtools }
}

/** Looks at a tab that stays on the queue, and gets all events meanwhile. */
async function openQueue (browser: Browser, url: string, minutes: number): Promise<Look[]> {
  const { context, page, devtools } = await openTab(browser, url)
  await sleep(settling)
  const looks: Look[] = []
  const begun = performance.now()
  for (const minute of [...lookAt.filter(each => each < minutes), minutes]) {
    await sleep(Math.max(0, begun + minute * 60_000 - performance.now()))
    const look = await lookOf(page, devtools, minute)
    looks.push(look)
    process.stderr.write(`${url} at minute ${minute}: ${JSON.stringify(look)}\n`)
  }
  await context.close()
  return looks
}

async function lookOf (page: Page, devtools: CDPSession, minute: number): Promise<Look> {
  const elements = await page.evaluate("document.querySelectorAll('*').length") as number
  await devtools.send('HeapProfiler.collectGarbage')
  const data = dataOf(JSON.parse(await snapshotOf(devtools)) as Snapshot)
  const { metrics } = await devtools.send('Performance.getMetrics')
  const of = (name: string) => metrics.find(metric => metric.name === name)?.value ?? NaN
  return {
    minute,
    heap: of('JSHeapUsedSize'),
    data,
    nodes: of('Nodes'),
    listeners: of('JSEventListeners'),
    elements,
    busy: of('ThreadTime'),
    at: of('Timestamp')
  }
}

/** The parts of a heap snapshot that are needed: its nodes are `node_fields.length` numbers each. */
interface Snapshot {
  readonly snapshot: {
    readonly meta: { readonly node_fields: readonly string[], readonly node_types: readonly [readonly string[]] }
  }
  readonly nodes: readonly number[]
}

async function snapshotOf (devtools: CDPSession): Promise<string> {
  const parts: string[] = []
  const keep = ({ chunk }: { chunk: string }) => { parts.push(chunk) }
  devtools.on('HeapProfiler.addHeapSnapshotChunk', keep)
  await devtools.send('HeapProfiler.takeHeapSnapshot', { reportProgress: false })
  devtools.off('HeapProfiler.addHeapSnapshotChunk', keep)
  return parts.join('')
}

function dataOf ({ snapshot: { meta }, nodes }: Snapshot): number {
  const [type, size] = [meta.node_fields.indexOf('type'), meta.node_fields.indexOf('self_size')]
  const counted = new Set(['object', 'string', 'concatenated string', 'sliced string', 'closure', 'array', 'number'])
  let sum = 0
  for (let at = 0; at < nodes.length; at += meta.node_fields.length) {
    const name = meta.node_types[0][nodes[at + type] ?? -1] ?? ''
    if (counted.has(name)) sum += nodes[at + size] ?? 0
  }
  return sum
}

/** A tab that goes from page to page and scrolls in them; what it uses at the queue before and after. */
async function wanderingTab (browser: Browser, url: string): Promise<string> {
  const { context, page, devtools } = await openTab(browser, url)
  await round(page)
  const before = await lookAtQueue(page, devtools)
  for (let count = 0; count < rounds; count++) await round(page)
  const after = await lookAtQueue(page, devtools)
  await context.close()
  return `${rounds} rounds through queue, all jobs and gallery: heap ${megabytes(before.heap)} → ${megabytes(after.heap)} MiB, ` +
    `nodes ${before.nodes} → ${after.nodes}, listeners ${before.listeners} → ${after.listeners}`
}

/** Goes to each page once, and scrolls there. */
async function round (page: Page): Promise<void> {
  for (const { hash, content } of firstPages) {
    await page.evaluate(`window.location.hash = ${JSON.stringify(`#/${hash}`)}`)
    await page.locator(content).first().waitFor({ state: 'attached', timeout: 60_000 })
    for (let count = 0; count < scrolls; count++) {
      await page.evaluate('window.scrollBy(0, 2000)')
      await sleep(betweenScrolls)
    }
  }
}

async function lookAtQueue (page: Page, devtools: CDPSession): Promise<Look> {
  await page.evaluate("window.location.hash = '#/'")
  await page.locator('.tile').first().waitFor({ state: 'detached' })
  await page.locator('.job').first().waitFor()
  await sleep(settling)
  return await lookOf(page, devtools, 0)
}

const megabytes = (bytes: number) => (bytes / 1024 / 1024).toFixed(1)

/** The table of all checkouts, in Markdown. */
function tableOf (measured: readonly Measured[]): string {
  const line = (name: string, cells: readonly string[]) => `| ${[name, ...cells].join(' | ')} |\n`
  const row = (name: string, cell: (one: Measured) => string) => line(name, measured.map(cell))
  const over = (name: string, of: (look: Look) => string | number) =>
    row(`${name}, at minute ${(measured[0]?.looks ?? []).map(({ minute }) => minute).join(', ')}`,
      ({ looks }) => looks.map(of).join(', '))
  return line('', measured.map(({ name }) => name)) + line('---', measured.map(() => '---')) +
    firstPages.map((page, index) => row(`${page.name}, first visit over slow 4G`, ({ visits: seen }) => {
      const { requests = 0, kilobytes = 0, paint = 0, there = 0 } = seen[index] ?? {}
      return `${requests} requests, ${kilobytes} kB, first paint after ${paint} ms, content after ${there} ms`
    })).join('') +
    over('JS heap in MiB', ({ heap }) => megabytes(heap)) +
    over('objects and strings in it in MiB', ({ data }) => megabytes(data)) +
    over('nodes of the browser', ({ nodes }) => nodes) +
    over('elements of the page', ({ elements }) => elements) +
    over('event listeners', ({ listeners }) => listeners) +
    row('processor time of the tab a minute', ({ looks: [first, ...others] }) => {
      const last = others.at(-1)
      return first === undefined || last === undefined ? '–' : `${((last.busy - first.busy) / ((last.at - first.at) / 60)).toFixed(1)} s`
    }) +
    row('jobs meanwhile', ({ jobs }) => String(jobs)) +
    row('rounds', ({ rounds: sentence }) => sentence) +
    row('load of the machine, 15 minutes', ({ load }) => load.toFixed(1))
}
