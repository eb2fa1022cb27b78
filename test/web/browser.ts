import { chromium, type Browser, type BrowserContext, type BrowserContextOptions, type Page } from 'playwright-core'
import type { Test } from 'tap'
import { findProgram } from '../../src/redis/private/install.ts'
import { atEnd } from '../support/at-end.ts'

/** The path of Chromium: from the test run, or found; undefined if this machine has none. */
export const chromiumPath = process.env.STABLEQUEUE_TEST_CHROMIUM ??
  findProgram(['chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'])

/** Skips a test file on a machine without Chromium, but never in CI. */
export const skip = chromiumPath === undefined && process.env.CI === undefined ? 'there is no Chromium' : false

export interface Visit {
  readonly page: Page
  /** Script errors, dialogs and violations of the content security policy: none of them should ever happen. */
  readonly violations: readonly string[]
}

/**
 * Wide enough for the layout of large windows, but small: test machines render without a graphics card. A service
 * worker would hide requests from `page.route`.
 */
const plain: BrowserContextOptions = {
  viewport: { width: 1000, height: 600 }, reducedMotion: 'reduce', serviceWorkers: 'block'
}

/** The browser of all files of this process, because starting one takes as long as a test. */
let shared: Browser | undefined

async function launch (): Promise<Browser> {
  return await chromium.launch({
    ...(chromiumPath === undefined ? {} : { executablePath: chromiumPath }),
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync',
      // Every visit would start a process of its own otherwise, which takes a third of the processor time.
      '--renderer-process-limit=1', '--disable-site-isolation-trials'
    ]
  })
}

async function browserOf (t: Pick<Test, 'teardown'>): Promise<Browser> {
  if (atEnd === undefined) {
    const own = await launch()
    t.teardown(async () => { await own.close() })
    return own
  }
  if (shared?.isConnected() === true) return shared
  const started = await launch()
  atEnd.push(async () => { await started.close() })
  shared = started
  return started
}

/**
 * Opens pages that close with the subtest that opened them: a page that stays open follows all that the next subtest
 * prepares, which takes more processor time than most subtests.
 */
export async function openBrowser (t: Pick<Test, 'teardown' | 'afterEach'>) {
  const browser = await browserOf(t)
  const contexts = new Map<string, BrowserContext>()
  t.teardown(async () => { await Promise.all([...contexts.values()].map(async context => { await context.close() })) })
  t.afterEach(async () => {
    for (const page of [...contexts.values()].flatMap(context => context.pages())) await page.close()
  })

  async function contextFor (options: BrowserContextOptions): Promise<BrowserContext> {
    const key = JSON.stringify(options)
    const context = contexts.get(key) ?? await browser.newContext({ ...plain, ...options })
    contexts.set(key, context)
    return context
  }

  /**
   * Opens a page for a user without a session and a draft. It closes a page opened before with the same options,
   * because a tab in the background costs time too.
   */
  return async function visit (address: string, options: BrowserContextOptions = {}): Promise<Visit> {
    const context = await contextFor(options)
    await context.clearCookies()
    const page = await context.newPage()
    for (const before of context.pages().filter(other => other !== page)) await before.close()
    page.setDefaultTimeout(60_000)
    const violations: string[] = []
    page.on('pageerror', error => violations.push(error.message))
    page.on('dialog', dialog => {
      violations.push(`dialog: ${dialog.message()}`)
      dialog.dismiss().catch(() => {})
    })
    page.on('console', message => {
      if (/content security policy|trusted ?type/i.test(message.text())) violations.push(message.text())
    })
    const { origin } = new URL(address)
    if (origin !== 'null') {
      const devtools = await context.newCDPSession(page)
      const storageTypes = 'local_storage,indexeddb'
      await devtools.send('Storage.clearDataForOrigin', { origin, storageTypes })
      await devtools.detach()
    }
    await page.goto(address)
    return { page, violations }
  }
}

/** Resolves with true when the first such image has loaded. @throws Error if it is not an image */
export async function imageLoaded (page: Page, selector: string): Promise<boolean> {
  // The browser loads images outside the window only when they enter it.
  await page.locator(selector).first().scrollIntoViewIfNeeded()
  return await page.evaluate(`{
    const image = document.querySelector(${JSON.stringify(selector)})
    image.decode().then(() => image.naturalWidth > 0)
  }`)
}
