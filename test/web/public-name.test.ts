import { chromium, type Page } from 'playwright-core'
import t from 'tap'
import { startService } from '../helper.ts'
import { chromiumPath, skip } from './browser.ts'

const token = 'token-of-the-operator'

t.test('over plain http at a name of the network, every page loads completely and without a console error', { skip }, async t => {
  const service = await startService(t, {
    settings: { PUBLIC_HOSTS: 'queue.example', PUBLIC_URL: 'https://elsewhere.example', AUTH_TOKEN: token }
  })
  const browser = await chromium.launch({
    ...(chromiumPath === undefined ? {} : { executablePath: chromiumPath }),
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync',
      '--host-resolver-rules=MAP queue.example 127.0.0.1'
    ]
  })
  t.teardown(() => browser.close())
  const context = await browser.newContext({ reducedMotion: 'reduce' })
  const origin = service.url.replace('127.0.0.1', 'queue.example')

  /** The errors of a page until it shows the expected content. */
  async function complaints (path: string, shown: (page: Page) => Promise<unknown>): Promise<string[]> {
    const page = await context.newPage()
    // The documentation has hundreds of operations, which a busy machine does not render within 30 seconds.
    page.setDefaultTimeout(120_000)
    const found: string[] = []
    page.on('pageerror', error => found.push(error.message))
    page.on('console', message => { if (['error', 'warning'].includes(message.type())) found.push(message.text()) })
    page.on('requestfailed', request => {
      const reason = request.failure()?.errorText
      // Pages abort their own requests when they need newer data.
      if (reason !== 'net::ERR_ABORTED') found.push(`${request.url()}: ${reason}`)
    })
    await page.goto(origin + path)
    await shown(page)
    await page.waitForLoadState('networkidle')
    await page.close()
    return found
  }

  t.strictSame(await complaints('/docs', async page => {
    await page.getByRole('heading', { name: /^StableQueue/ }).waitFor()
    await page.locator('.opblock-summary-control').first().click()
    await page.locator('.opblock-body').first().waitFor()
  }), [], '/docs')

  const login = await context.request.post(`${origin.replace('queue.example', '127.0.0.1')}/ui/session`, {
    headers: { host: new URL(origin).host }, data: { token }
  })
  const [cookie = ''] = String(login.headers()['set-cookie']).split(';')
  await context.addCookies([{ url: origin, name: cookie.split('=')[0] ?? '', value: cookie.split('=')[1] ?? '' }])
  t.strictSame(await complaints('/dashboard', async page => {
    await page.getByText('Main').first().waitFor()
  }), [], '/dashboard')
  t.strictSame(await complaints('/', async page => {
    await page.getByText('built-in simulator').waitFor()
  }), [], '/')
})

t.end()
