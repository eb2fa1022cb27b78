import type { Page } from 'playwright-core'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import { quick, startService, type Service } from '../helper.ts'
import { seriousFindings } from './axe.ts'
import { openBrowser, skip, type Visit } from './browser.ts'
import { overlapsIn } from './overlap.ts'

/** The addresses of every page in the navigation and of their subpages. */
async function everyPage (page: Page, jobs: readonly string[]): Promise<string[]> {
  const linked = await page.locator('nav[aria-label=Pages] a[href^="#/"]').evaluateAll(links =>
    links.map(link => link.getAttribute('href')?.slice(2) ?? ''))
  return [
    ...linked, 'webhooks/endpoints', 'webhooks/secrets', ...jobs.map(id => `job/${id}`), `create?from=${jobs[0]}`, 'queue?status=all', 'queue?status=failed',
    'queue?status=pending', 'queue?search=picture', 'servers?add=1', '%3Cimg%20src=x%20onerror=alert(1)%3E/%E0%A4%A?x=%00'
  ]
}

async function enter (page: Page, service: Service, hash: string): Promise<void> {
  await page.goto(`${service.url}/#/${hash}`)
  await page.locator('main h1').waitFor()
  await page.getByText('Loading…').first().waitFor({ state: 'detached' })
}

/** Hostile text that tries to run in the browsers of others. */
const hostile = [
  '"><img src=x onerror=window.hit=1><svg onload=window.hit=1>',
  '</textarea></title></style></script><script>window.hit=1</script>',
  '<iframe srcdoc="<script>parent.hit=1</script>"></iframe><details open ontoggle=window.hit=1>',
  'javascript:window.hit=1//',
  '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=x onerror=window.hit=1&gt;">',
  '{{constructor.constructor("window.hit=1")()}}$' + '{window.hit=1}',
  '<a href="javascript:window.hit=1" autofocus onfocus=window.hit=1>picture</a>\u2028<lora:"><b onmouseover=hit=1>:1>'
].join(' ')

t.test('every page', { skip }, async t => {
  const visit = await openBrowser(t)
  const service = await startService(t, { settings: { EGRESS_PROFILE: 'lan', EGRESS_ALLOW: '127.0.0.1:10' } })
  const { request } = service
  const image = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#7090c0' } }).png().toBuffer()
  const enlarged = await request('POST', '/generate/upscale', { user_id: 'ann', image: image.toString('base64'), scale: 2 })
  t.equal(enlarged.status, 200, JSON.stringify(enlarged.body))
  await service.until(String(enlarged.body.job_id), 'completed')
  await request('PUT', '/api/v1/servers/Main', { description: `A server. ${hostile}` })
  await request('POST', '/api/v1/servers', { alias: '"><img src=x onerror=hit=1>', apiUrl: 'http://127.0.0.1:9' })
  await request('POST', '/api/v1/api-keys', { name: hostile.slice(0, 190), description: hostile })
  const target = { target_server_alias: 'Main', on_missing: 'ignore' }
  const done = await service.submit({
    ...quick, prompt: 'a picture', negative_prompt: hostile, n_iter: 2, batch_size: 1, init_images: [image.toString('base64')]
  }, { ...target, webhookUrl: `http://127.0.0.1:10/${encodeURIComponent(hostile.slice(0, 300))}` })
  await service.until(done, 'completed')
  service.simulator.setFaults([{ kind: 'nan', sticky: true }])
  const failed = await service.submit({ ...quick, prompt: `picture ${hostile}` }, target)
  await service.until(failed, 'failed')
  service.simulator.setFaults([])
  await request('POST', '/api/v1/servers/Main/pause', { reason: hostile.slice(0, 300) })
  const waiting = [await service.submit({ ...quick, prompt: hostile }, target), await service.submit(quick, target)]
  const jobs = [done, failed, String(enlarged.body.job_id), ...waiting]

  async function unharmed (t: Test, { page, violations }: Visit, hash: string): Promise<void> {
    t.equal(await page.evaluate('window.hit'), undefined, `nothing ran: ${hash}`)
    const strange = 'img[src=x], iframe, [onload], [onerror], [onfocus], [ontoggle], a[href^="javascript:"], main script, main style'
    t.equal(await page.locator(strange).count(), 0, `text of strangers stays text: ${hash}`)
    const nonsense = (await page.locator('main').innerText()).match(/.*(\bundefined\b|\bNaN\b(?!\))|\[object).*/g)
    t.equal(nonsense, null, `every word has a meaning: ${hash}`)
    t.strictSame(violations, [], hash)
  }

  t.test('works with a screen reader, and runs no script from strangers', async t => {
    const visited = await visit(service.url, { viewport: { width: 1280, height: 900 } })
    const { page } = visited
    await enter(page, service, 'queue')
    const hashes = await everyPage(page, jobs)
    t.ok(hashes.length >= 12, String(hashes))
    for (const hash of hashes) {
      await enter(page, service, hash)
      t.strictSame(await overlapsIn(page), [], `nothing overlaps: ${hash}`)
      t.strictSame(await seriousFindings(page), [], `axe: ${hash}`)
      await unharmed(t, visited, hash)
    }
  })

  t.test('fits a phone, also in dark mode', async t => {
    const visited = await visit(service.url, {
      viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, colorScheme: 'dark'
    })
    const { page } = visited
    await enter(page, service, 'queue')
    for (const hash of await everyPage(page, jobs)) {
      await enter(page, service, hash)
      t.ok(await page.evaluate('document.documentElement.scrollWidth') as number <= 360, hash)
      t.strictSame(await overlapsIn(page), [], `nothing overlaps: ${hash}`)
      t.strictSame(await seriousFindings(page), [], `axe: ${hash}`)
    }
    await page.setViewportSize({ width: 390, height: 844 })
    await enter(page, service, 'queue')
    const first = await page.locator('.job').first().boundingBox()
    const second = await page.locator('.job').nth(1).boundingBox()
    t.ok(first !== null && second !== null && second.y + second.height < 844 - 70, 'the first screen shows jobs')
    t.match(await page.evaluate('getComputedStyle(document.documentElement).backgroundColor'), 'rgb(17, 20, 27)')
    await page.getByRole('button', { name: 'More' }).click()
    await page.getByRole('link', { name: 'API docs' }).waitFor()
    await page.keyboard.press('Escape')
    t.equal(await page.getByRole('link', { name: 'API docs' }).count(), 0)
    t.strictSame(visited.violations, [])
  })

  t.test('works with the keyboard alone', async t => {
    const { page } = await visit(service.url)
    await page.getByRole('link', { name: 'New job' }).waitFor()
    // It comes when the page knows whether the queues run.
    await page.getByRole('button', { name: 'Pause all' }).waitFor()
    await page.keyboard.press('Tab')
    t.equal(await page.evaluate('document.activeElement.className'), 'skip', 'the first stop leads past the navigation')
    await page.keyboard.press('Enter')
    t.equal(await page.evaluate('document.activeElement.id'), 'main')
    await page.keyboard.press('Tab')
    t.equal(await page.evaluate('document.activeElement.textContent'), 'Pause all')
    await page.keyboard.press('Tab')
    t.equal(await page.evaluate('document.activeElement.textContent'), 'New job')
    await page.keyboard.press('Enter')
    await page.locator('textarea[name=prompt]').waitFor()
    await page.locator('h1:focus').waitFor()
    t.match(page.url(), /#\/create/, 'a new page is read out from its heading')
  })
})
