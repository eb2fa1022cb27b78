import sharp from 'sharp'
import t from 'tap'
import { startService } from '../helper.ts'
import { seriousFindings } from './axe.ts'
import { openBrowser, skip } from './browser.ts'

/** Records what the page tells, in place of the browser's own means. */
const record = `{
  window.told = { titles: [], notifications: [], tones: 0, badges: [] }
  window.Notification = class {
    static permission = 'granted'
    static async requestPermission () { return 'granted' }
    constructor (title) { told.notifications.push(title) }
  }
  window.AudioContext = class extends AudioContext {
    createOscillator () { told.tones++; return super.createOscillator() }
  }
  navigator.setAppBadge = async count => { told.badges.push(count) }
  navigator.clearAppBadge = async () => { told.badges.push(0) }
  document.hasFocus = () => false
  new MutationObserver(() => told.titles.push(document.title)).observe(document.querySelector('title'), { childList: true })
}`
interface Told { titles: string[], notifications: string[], tones: number, badges: number[] }

t.test('people know when their jobs are done', { skip }, async t => {
  const visit = await openBrowser(t)
  const service = await startService(t, { settings: { PUBLIC_URL: 'http://127.0.0.1:1/tools/queue/' } })
  const url = `${service.url}/tools/queue`

  t.test('by the title of the tab, and as they asked for, once', async t => {
    const { page, violations } = await visit(`${url}/#/create`)
    await page.evaluate(record)
    const told = async () => await page.evaluate('told') as Told
    const submit = async (prompt: string) => {
      await page.getByLabel('Prompt', { exact: true }).fill(prompt)
      await page.getByLabel('Steps', { exact: true }).fill('40')
      const answered = page.waitForResponse(response => response.url().endsWith('/api/v2/generate'))
      await page.getByRole('button', { name: 'Submit job' }).click()
      const { job_id: id } = await (await answered).json() as { job_id: string }
      // The page keeps what it knows of this job here before it tells the user.
      while (!(await page.evaluate("sessionStorage['stablequeue.followed'] ?? ''") as string)
        .includes(JSON.stringify([id, { status: 'completed', progress: 1 }]))) {
        await page.evaluate('new Promise(requestAnimationFrame)')
      }
      await page.locator('.results > li', { hasText: 'Done' }).first().waitFor()
      while (await page.title() !== 'Create – StableQueue') await page.evaluate('new Promise(requestAnimationFrame)')
    }
    t.equal(await page.getByRole('group', { name: 'When the jobs are done' }).count(), 0, 'nobody is asked before a job')
    await submit('a first boat')
    const first = await told()
    t.ok(first.titles.some(title => /^\d+ % · Create – StableQueue$/.test(title)), String(first.titles))
    t.match(first, { notifications: [], tones: 0 }, 'off by default')
    t.ok(first.badges.includes(1), String(first.badges))
    t.equal(first.badges.at(-1), 0)

    const question = page.getByRole('group', { name: 'When the jobs are done' })
    t.strictSame(await seriousFindings(page), [])
    await question.getByRole('button', { name: 'Notify me' }).click()
    await question.waitFor({ state: 'detached' })
    await page.getByRole('button', { name: 'Start over' }).click()
    await submit('a second boat')
    t.match(await told(), { notifications: ['1 job is done'], tones: 0 })

    await page.getByRole('link', { name: 'Settings' }).click()
    t.equal(await page.getByLabel('Notification').isChecked(), true)
    await page.getByLabel('Notification').uncheck()
    await page.getByLabel('Sound').check()
    const { tones } = await told()
    await page.getByRole('link', { name: 'Create' }).click()
    await submit('a third boat')
    const last = await told()
    t.strictSame(last.notifications, ['1 job is done'])
    t.ok(last.tones > tones, 'it plays')
    t.strictSame(violations, [])
  })

  t.test('and when a job that they retried is done', async t => {
    const { request } = service
    await request('PUT', '/api/v1/settings/queue-processing', { enabled: false })
    const id = await service.submit({ prompt: 'a lost boat', steps: 2, width: 64, height: 64 })
    await request('POST', `/api/v2/jobs/${id}/cancel`)
    const { page, violations } = await visit(`${url}/#/queue?status=cancelled`)
    await page.evaluate(record)
    const titleIs = async (title: string) => {
      while (await page.title() !== title) await page.evaluate('new Promise(requestAnimationFrame)')
    }
    await page.getByRole('button', { name: 'Retry: a lost boat' }).click()
    await titleIs('waiting · Queue – StableQueue')
    await request('PUT', '/api/v1/settings/queue-processing', { enabled: true })
    await service.until(id, 'completed')
    await titleIs('Queue – StableQueue')
    const { badges } = await page.evaluate('told') as Told
    t.ok(badges.includes(1), String(badges))
    t.equal(badges.at(-1), 0)
    t.strictSame(violations, [])
  })

  t.test('and the installed app starts without the service, recovers by itself, and notifies on phones', async t => {
    const { page, violations } = await visit(`${url}/`, { serviceWorkers: 'allow' })
    await page.getByRole('heading', { name: 'Queue', exact: true }).waitFor()
    t.equal(await page.evaluate('navigator.serviceWorker.ready.then(({ scope }) => scope)'), `${url}/`)
    await page.context().setOffline(true)
    await page.reload()
    await page.getByRole('alert').getByText('The service does not answer').waitFor()
    t.strictSame(await seriousFindings(page), [])
    await page.context().setOffline(false)
    await page.getByRole('heading', { name: 'Queue', exact: true }).waitFor()
    const kept = await page.evaluate(`caches.keys().then(async ([name]) =>
      (await (await caches.open(name)).keys()).map(({ url }) => new URL(url).pathname))`) as string[]
    t.ok(kept.length >= 4, String(kept))
    t.strictSame(kept.filter(path => !/^\/tools\/queue\/(?:ui\/[\w-]+\.\w+)?$/.test(path)), [], 'nothing of the API')

    await page.goto(`${url}/#/create`)
    await page.evaluate(`{
      window.told = []
      window.Notification = class { static permission = 'granted'; constructor () { throw new TypeError('Illegal constructor') } }
      ServiceWorkerRegistration.prototype.showNotification = async title => { told.push(title) }
      document.hasFocus = () => false
      localStorage['stablequeue.tell'] = JSON.stringify({ notification: true, sound: false })
    }`)
    await page.getByLabel('Prompt', { exact: true }).fill('a boat of a phone')
    await page.getByRole('button', { name: 'Submit job' }).click()
    while (await page.evaluate('told.length') === 0) await page.evaluate('new Promise(requestAnimationFrame)')
    t.strictSame(await page.evaluate('told'), ['1 job is done'])
    t.strictSame(violations, [])
  })

  t.test('and can install the UI as an app, below the path of a proxy too', async t => {
    const { page, violations } = await visit(`${url}/`)
    await page.getByRole('heading', { name: 'Queue', exact: true }).waitFor()
    const devtools = await page.context().newCDPSession(page)
    const { url: address, errors, data = '' } = await devtools.send('Page.getAppManifest')
    t.strictSame(errors, [])
    t.match(address, `${url}/ui/manifest-`)
    const manifest = JSON.parse(data) as { start_url: string, icons: Array<{ src: string }> }
    t.equal(new URL(manifest.start_url, address).href, `${url}/`)
    const touchIcon = await page.locator('link[rel=apple-touch-icon]').getAttribute('href') ?? ''
    const addresses = [...manifest.icons.map(({ src }) => new URL(src, address)), new URL(touchIcon, page.url())]
    const icons = await Promise.all(addresses.map(async address => await fetch(address)))
    t.strictSame(icons.map(icon => icon.headers.get('content-type')), ['image/svg+xml', 'image/png', 'image/png', 'image/png'])
    t.match(await sharp(await icons[3]?.arrayBuffer()).metadata(), { width: 180, height: 180, hasAlpha: false })
    t.match((await fetch(address)).headers.get('content-type'), 'application/manifest+json')
    t.strictSame(violations, [])
  })
})
