import type { Page } from 'playwright-core'
import t from 'tap'
import { quick, startService } from '../helper.ts'
import { imageLoaded, openBrowser, skip } from './browser.ts'

t.test('an address is a place, and Back returns to it', { skip }, async t => {
  const visit = await openBrowser(t)
  const service = await startService(t, { settings: { PUBLIC_URL: 'http://127.0.0.1:1/tools/queue/' } })
  const { request, submit, until } = service
  /** Below the path of a proxy, because most tests visit the pages without. */
  const url = `${service.url}/tools/queue`
  await request('POST', '/api/v1/servers', { alias: 'Attic', apiUrl: 'http://127.0.0.1:9' })
  await request('POST', '/api/v1/servers/Attic/pause', { reason: 'cleaning' })
  await Promise.all(Array.from({ length: 120 }, async (_, index) =>
    await submit({ ...quick, prompt: `waiting boat ${index}` }, { target_server_alias: 'Attic' })))
  const old = await submit({ ...quick, prompt: 'the oldest boat' }, { target_server_alias: 'Main' })
  const ids = [old]
  for (const prompt of ['first fleet', 'second fleet', 'third fleet', 'last fleet']) {
    ids.push(await submit({ ...quick, steps: 1, prompt, n_iter: 50 }, { target_server_alias: 'Main' }))
  }
  for (const id of ids) await until(id, 'completed')
  const [oldest] = (await service.job(old)).images
  const name = String(oldest?.filename)

  const positionOf = async (page: Page) => await page.evaluate('window.scrollY') as number
  const scrollTo = async (page: Page, y: number) => {
    while (Math.abs(await positionOf(page) - y) > 2) await page.evaluate(`window.scrollTo(0, ${y})`)
  }
  const isAt = async (page: Page, y: number) => {
    while (Math.abs(await positionOf(page) - y) > 2) await page.evaluate('new Promise(requestAnimationFrame)')
  }

  t.test('in the queue, after a job, a reload, and by the link on the page of the job', async t => {
    const { page, violations } = await visit(`${url}/#/queue?status=pending&server=Attic`)
    await scrollTo(page, 6000)
    const job = page.locator('.job h3 a').nth(10)
    const prompt = await job.innerText()
    await job.click()
    await page.getByRole('heading', { level: 1, name: prompt }).waitFor()
    await isAt(page, 0)
    await page.goBack()
    await page.getByRole('link', { name: prompt, exact: true }).waitFor()
    await isAt(page, 6000)
    t.match(page.url(), /status=pending&server=Attic/)
    await page.reload()
    await page.getByRole('link', { name: prompt, exact: true }).waitFor()
    await isAt(page, 6000)
    await page.getByRole('link', { name: prompt, exact: true }).click()
    await page.getByRole('heading', { level: 1, name: prompt }).waitFor()
    await page.locator('main').getByRole('link', { name: 'Queue' }).click()
    await page.getByRole('link', { name: prompt, exact: true }).waitFor()
    await isAt(page, 6000)
    await page.getByRole('navigation').getByRole('link', { name: 'Queue' }).click()
    await page.getByRole('heading', { name: 'Next in queue' }).waitFor()
    await isAt(page, 0)
    t.strictSame(violations, [])
  })

  t.test('in the gallery, beyond its first page, and after an image that was opened', async t => {
    const narrow = { viewport: { width: 390, height: 600 } }
    const { page, violations } = await visit(`${url}/#/gallery?server=Main`, narrow)
    await page.locator('.tile').first().waitFor()
    await page.locator('main [role=status]', { hasText: '150 images and more' }).waitFor({ state: 'attached' })
    await page.evaluate('window.scrollTo(0, document.documentElement.scrollHeight)')
    await page.locator('main [role=status]', { hasText: /^201 images$/ }).waitFor({ state: 'attached' })
    await page.evaluate('window.scrollTo(0, document.documentElement.scrollHeight)')
    await page.getByRole('link', { name: 'Open: the oldest boat' }).waitFor()
    const bottom = await positionOf(page)
    await page.getByRole('link', { name: 'Open: first fleet' }).last().click()
    const viewer = page.getByRole('dialog', { name: 'Image' })
    await viewer.waitFor()
    t.match(page.url(), /server=Main&image=/)
    await page.goBack()
    await viewer.waitFor({ state: 'detached' })
    await isAt(page, bottom)
    await page.goForward()
    await viewer.getByRole('link', { name: 'Job', exact: true }).click()
    await page.getByRole('heading', { level: 1, name: 'first fleet' }).waitFor()
    await page.goBack()
    await viewer.waitFor()
    await page.keyboard.press('Escape')
    await viewer.waitFor({ state: 'detached' })
    await isAt(page, bottom)
    t.notMatch(page.url(), /image=/)
    t.strictSame(violations, [])
  })

  t.test('a link to an image works in a new tab, whatever the filters and pages are', async t => {
    const { page, violations } = await visit(`${url}/#/gallery?search=fleet&image=${encodeURIComponent(name)}`)
    const viewer = page.getByRole('dialog', { name: 'Image' })
    await viewer.getByText('the oldest boat').waitFor()
    t.ok(await imageLoaded(page, '.lightbox-stage img'))
    t.match(await page.locator('.lightbox-stage img').getAttribute('src'), /^\/tools\/queue\/outputs\//)
    await page.keyboard.press('Escape')
    await viewer.waitFor({ state: 'detached' })
    t.match(page.url(), /tools\/queue\/#\/gallery\?search=fleet$/)

    const [tab] = await Promise.all([
      page.context().waitForEvent('page'), page.locator('.tile-picture').first().click({ modifiers: ['Control'] })
    ])
    await tab.getByRole('dialog', { name: 'Image' }).getByText('last fleet').waitFor()
    await tab.close()
    await page.goto(`${url}/#/gallery?image=gone.png`)
    await page.getByText('does not exist any more').waitFor()
    t.strictSame(violations, [])
  })

  t.test('an image of a job has an address too', async t => {
    const { page, violations } = await visit(`${url}/#/job/${old}`)
    await page.getByRole('link', { name: 'Show image 1 large' }).click()
    const viewer = page.getByRole('dialog', { name: 'Image 1 of 1' })
    await viewer.waitFor()
    t.match(page.url(), RegExp(`/job/${old}\\?image=`))
    await page.reload()
    await viewer.waitFor()
    await page.keyboard.press('Escape')
    await viewer.waitFor({ state: 'detached' })
    t.match(page.url(), RegExp(`/job/${old}$`))
    t.strictSame(violations, [])
  })
})
