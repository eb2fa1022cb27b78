import t from 'tap'
import { quick, startService } from '../helper.ts'
import { imageLoaded, openBrowser, skip } from './browser.ts'

t.test('people use the service in a browser', { skip }, async t => {
  const visit = await openBrowser(t)
  const service = await startService(t)

  t.test('a newcomer paints a first picture in one click', async t => {
    const { page, mishaps } = await visit(service.url)
    await page.getByText('built-in simulator').waitFor()
    await page.getByRole('button', { name: 'Paint a first picture' }).click()
    t.ok(await imageLoaded(page, 'main .images img'))
    t.match(page.url(), /#\/job\//)
    t.equal(await page.evaluate('document.activeElement.tagName'), 'H1', 'the new page is read out from its heading')
    await page.getByRole('link', { name: 'Queue' }).last().click()
    await page.getByRole('heading', { name: /a lighthouse on a cliff/ }).waitFor()
    t.equal(await page.getByRole('button', { name: 'Paint a first picture' }).count(), 0, 'it is offered once')
    t.strictSame(mishaps, [])
  })

  t.test('a server is added with a look at it, held, let go and deleted', async t => {
    const { page, mishaps } = await visit(`${service.url}/#/servers`)
    const card = (alias: string) => page.locator('.card', { has: page.getByRole('heading', { name: alias, exact: true }) })
    await card('Main').getByText('Simulator – paints pictures, no Stable Diffusion').waitFor()

    await page.getByRole('button', { name: 'Add a server' }).click()
    await page.getByLabel('Name', { exact: true }).fill('main')
    await page.getByLabel('Address').fill(service.simulator.url.replace('http://', ''))
    await page.getByRole('button', { name: 'Add and test' }).click()
    await page.getByRole('dialog').getByText('already a server').waitFor()
    t.equal(await page.evaluate('document.activeElement.name'), 'alias')
    await page.getByLabel('Name', { exact: true }).fill('Second')
    await page.getByRole('button', { name: 'Add and test' }).click()
    await page.getByRole('status').getByText('Second was added').waitFor()
    await card('Second').getByText('Online', { exact: true }).waitFor()

    await page.getByRole('button', { name: 'Pause Second' }).click()
    await page.getByLabel('Reason').fill('a new driver')
    await page.keyboard.press('Enter')
    await card('Second').getByText('Paused', { exact: true }).waitFor()
    await card('Second').getByText('a new driver').waitFor()
    await page.getByRole('button', { name: 'Inventory Second' }).click()
    await page.getByRole('searchbox', { name: 'Search' }).fill('dreamscape')
    await page.getByRole('dialog').getByText('dreamscape-v8.safetensors [1b914fb7a1]').waitFor()
    await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click()
    await page.getByRole('button', { name: 'Change Second' }).click()
    await page.getByLabel('Description').fill('under the desk')
    await page.getByRole('button', { name: 'Save and test' }).click()
    await card('Second').getByText('under the desk').waitFor()
    await card('Second').getByRole('img', { name: 'Online 100 % of the last hour' }).waitFor()
    await page.getByRole('button', { name: 'Disable Second' }).click()
    await card('Second').getByText('Disabled').waitFor()
    await page.getByRole('button', { name: 'Enable Second' }).click()
    await page.getByRole('button', { name: 'Resume Second' }).click()
    await card('Second').getByText('Paused', { exact: true }).waitFor({ state: 'detached' })

    await page.getByRole('button', { name: 'Pause Second' }).click()
    await page.keyboard.press('Enter')
    await page.getByRole('button', { name: 'Resume Second' }).waitFor()
    const id = await service.submit(quick, { target_server_alias: 'Second' })
    await page.getByText('1 waiting').waitFor()
    await page.getByRole('button', { name: 'Delete Second' }).click()
    await page.getByLabel('Move waiting jobs to another server').check()
    await page.getByLabel('Server that takes them').selectOption('Main')
    await page.getByRole('button', { name: 'Delete server' }).click()
    await card('Second').waitFor({ state: 'detached' })
    t.match(await service.until(id, 'completed'), { target_server_alias: 'Main' })

    await page.getByRole('button', { name: 'Add a server' }).click()
    await page.getByLabel('Name', { exact: true }).fill('Nobody')
    await page.getByLabel('Address').fill('http://127.0.0.1:9')
    await page.getByRole('button', { name: 'Add and test' }).click()
    await page.getByRole('heading', { name: 'Nobody cannot be used yet' }).waitFor()
    await page.getByRole('button', { name: 'Change what I entered' }).click()
    t.equal(await page.getByLabel('Name', { exact: true }).inputValue(), 'Nobody')
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    t.strictSame(mishaps, [])
  })

  t.test('a key is made, shown once, used, replaced and revoked', async t => {
    const { page, mishaps } = await visit(`${service.url}/#/keys`)
    await page.getByRole('button', { name: 'New key' }).click()
    await page.getByLabel('Name', { exact: true }).fill('Forge')
    await page.getByRole('button', { name: 'Make key' }).click()
    await page.getByRole('heading', { name: 'Keep this secret now' }).waitFor()
    const [key = '', secret = ''] = await page.getByRole('dialog').locator('code').allTextContents()
    const use = async (using: string) =>
      (await service.request('GET', '/api/v1/servers', undefined, { 'x-api-key': key, 'x-api-secret': using })).status
    t.equal(await use(secret), 200)
    await page.getByRole('button', { name: 'I have kept it' }).click()
    await page.locator('.card', { hasText: key }).waitFor()
    t.notMatch(await page.content(), secret)

    await page.getByRole('button', { name: 'Change Forge' }).click()
    await page.getByLabel('It may').selectOption({ label: 'What is chosen below' })
    await page.getByLabel('See servers').uncheck()
    await page.getByLabel('Requests a minute').fill('7')
    await page.getByText('Webhook of its jobs').click()
    await page.getByLabel('Address').fill('nowhere')
    await page.getByRole('button', { name: 'Save' }).click()
    await page.locator('#app input[name=webhook_url][aria-invalid=true]').waitFor()
    await page.getByLabel('Address').fill('https://example.org/hook')
    await page.getByLabel('It was cancelled').uncheck()
    await page.getByRole('button', { name: 'Save' }).click()
    await page.locator('.card', { hasText: '7 requests a minute' }).getByText('https://example.org/hook').waitFor()
    const keys = (await service.request('GET', '/api/v1/api-keys')).body.api_keys
    t.match(keys, [{ rate_limit_per_minute: 7, webhook_events: ['job.completed', 'job.failed'] }])
    t.equal(await use(secret), 403, 'a right that was taken away is gone')
    await page.getByRole('button', { name: 'Change Forge' }).click()
    await page.getByLabel('It may').selectOption({ label: 'Submit jobs and see its own' })
    await page.getByRole('button', { name: 'Save' }).click()
    await page.locator('.card', { hasText: 'Submit jobs and see its own' }).waitFor()

    await page.getByRole('button', { name: 'Rotate Forge' }).click()
    await page.getByLabel('The former secret works').selectOption('0')
    await page.getByRole('button', { name: 'Make new secret' }).click()
    await page.getByRole('heading', { name: 'Keep this secret now' }).waitFor()
    const [, replaced = ''] = await page.getByRole('dialog').locator('.secret code').allTextContents()
    t.equal(await use(secret), 401)
    t.equal(await use(replaced), 200)
    await page.getByRole('button', { name: 'I have kept it' }).click()

    await page.getByRole('button', { name: 'Revoke Forge' }).click()
    await page.getByRole('button', { name: 'Revoke key' }).click()
    await page.getByText('There is no key yet').waitFor()
    t.equal(await use(replaced), 401)
    t.strictSame(mishaps, [])
  })

  t.test('where a token is asked for, nothing is shown without it', async t => {
    const token = 'a token of this test'
    const service = await startService(t, { worker: 'none', settings: { UI_AUTH: 'token', AUTH_TOKEN: token } })
    const { page, mishaps } = await visit(`${service.url}/#/keys`)
    await page.getByLabel('Admin token').fill('a guess')
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByText('This is not the admin token').waitFor()
    t.equal(await page.getByRole('navigation').count(), 0)
    await page.getByLabel('Admin token').fill(token)
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'API keys' }).waitFor()
    await page.reload()
    await page.getByRole('heading', { name: 'API keys' }).waitFor()
    t.strictSame(mishaps, [])
    const leadingOut = { Metrics: 'stablequeue_jobs', Readiness: '"redis"', 'API docs': 'StableQueue', Dashboard: 'generation' }
    for (const [link, words] of Object.entries(leadingOut)) {
      await page.goto(`${service.url}/#/settings`)
      await page.locator('.links').getByRole('link', { name: link }).click()
      await page.getByText(words).first().waitFor()
    }
    const there = mishaps.length
    await page.goto(`${service.url}/#/keys`)
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByRole('heading', { name: 'Sign in' }).waitFor()
    await page.goto(`${service.url}/#/queue`)
    await page.getByRole('heading', { name: 'Sign in' }).waitFor()
    t.strictSame(mishaps.slice(there), [])

    const other = await visit(`${service.url}/#token=${encodeURIComponent(token)}`)
    await other.page.getByRole('heading', { name: 'Queue' }).waitFor()
    t.equal(other.page.url(), `${service.url}/#/queue`, 'the token has left the address')
    const kept = await other.page.evaluate('JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, history.state])')
    t.notMatch(kept, token)

    const operator = await visit(`${service.url}/dashboard`)
    await operator.page.getByLabel('Admin token').fill(token)
    await operator.page.keyboard.press('Enter')
    await operator.page.waitForURL(`${service.url}/dashboard`)
    await operator.page.getByText('maintenance').first().waitFor()
    t.strictSame(operator.mishaps, [], 'the dashboard asks for the token, too')
  })
})

t.test('the files of the UI are small, asked for once, and nothing else is served', async t => {
  const { url, app, request } = await startService(t, { worker: 'none' })
  const seen = new Set<string>()
  let bytes = 0
  async function follow (path: string): Promise<void> {
    if (seen.has(path)) return
    seen.add(path)
    const plain = await fetch(url + path, { headers: { 'accept-encoding': 'identity' } })
    t.equal(plain.status, 200, path)
    t.match(plain.headers.get('content-security-policy'), /^default-src 'none'; script-src 'self'; style-src 'self';/)
    t.equal(plain.headers.get('x-content-type-options'), 'nosniff')
    t.equal(plain.headers.get('referrer-policy'), 'no-referrer')
    const text = await plain.text()
    const compressed = await fetch(url + path, { headers: { 'accept-encoding': 'gzip, br' } })
    t.equal(compressed.headers.get('content-encoding'), 'gzip')
    t.equal(await compressed.text(), text)
    bytes += Number(compressed.headers.get('content-length'))
    const tag = compressed.headers.get('etag') ?? ''
    t.not(tag, plain.headers.get('etag'), 'another form has another tag')
    const again = await fetch(url + path, { headers: { 'accept-encoding': 'gzip', 'if-none-match': `"old", W/${tag}` } })
    t.equal(again.status, 304)
    const linked = [...text.matchAll(/(?:href|src)="(\/ui\/[^"]+)"|(?:from |from|import\()['"](\.[^'"]+)['"]/g)]
    for (const [, absolute, relative = ''] of linked) await follow(absolute ?? new URL(relative, url + path).pathname)
  }
  await follow('/')
  t.ok(seen.has('/ui/vendor/hooks.js') && seen.has('/ui/pages/keys.js'), `${seen.size} files`)
  t.ok(bytes < 150_000, `all pages together are ${bytes} bytes`)

  for (const path of ['/ui/', '/ui/index.html', '/ui/screenshots/queue.png', '/ui/..%2fpackage.json', '/ui/constructor']) {
    t.equal((await request('GET', path)).status, 404, path)
  }
  const fromElsewhere = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
  t.equal((await app.inject({ url: '/', headers: fromElsewhere })).statusCode, 200, 'a link on another page leads here')
  const paths = Object.keys((await request('GET', '/openapi.json')).body.paths as object)
  t.notOk(paths.includes('/') || paths.some(path => /^\/ui\/.*\./.test(path)), 'the API documentation is about the API')
})
