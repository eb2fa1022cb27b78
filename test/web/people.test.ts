import t from 'tap'
import { quick, startService } from '../helper.ts'
import { keyHeaders } from '../api/access-key.ts'
import { seriousFindings } from './axe.ts'
import { openBrowser, skip } from './browser.ts'

t.test('people at the pages', { skip }, async t => {
  const visit = await openBrowser(t)
  const service = await startService(t, { worker: 'none', settings: { UI_AUTH: 'token', AUTH_TOKEN: 'a token of this test', QUEUE_LIMIT_PER_KEY: '7' } })
  const admin = { authorization: 'Bearer a token of this test' }
  const words = ({ headers }: Awaited<ReturnType<typeof keyHeaders>>) => `${headers['X-API-Key']}:${headers['X-API-Secret']}`
  const submit = async (prompt: string, headers: Readonly<Record<string, string>>) => String((await service.request('POST', '/api/v2/generate', {
    target_server_alias: 'default', generation_params: { ...quick, prompt }
  }, headers)).body.job_id)

  t.test('a person signs in with an access key, and sees and is offered no more than its rights', async t => {
    const ada = await keyHeaders(service, {
      name: 'Ada', scopes: ['jobs:read', 'jobs:write', 'images:read', 'servers:read']
    })
    await submit('a boat of Ada', ada.headers)
    await submit('a boat of the administrator', admin)
    const { page, violations } = await visit(service.url)
    t.strictSame(await seriousFindings(page), [])
    await page.getByLabel('Admin token or access key').fill(words(ada))
    await page.keyboard.press('Enter')
    await page.locator('.job', { hasText: 'a boat of Ada' }).getByText('you (API)').waitFor()
    t.equal(await page.getByText('a boat of the administrator').count(), 0)
    const links = await page.getByRole('navigation', { name: 'Pages' }).getByRole('link').allTextContents()
    t.strictSame(links, ['Queue', 'Create', 'Gallery', 'Servers', 'Webhooks', 'API docs', 'Ada'])
    t.equal(await page.getByRole('button', { name: /^Pause/ }).count(), 0, 'neither a server nor all')
    t.equal(await page.getByRole('button', { name: 'Cancel: a boat of Ada' }).count(), 1)

    await page.getByRole('link', { name: 'Ada', exact: true }).click()
    await page.getByText('1 of 7; 6 more can wait').waitFor()
    await page.getByText('See your own jobs').waitFor()
    t.strictSame(await seriousFindings(page), [])
    await page.getByRole('link', { name: 'Servers' }).click()
    await page.getByRole('button', { name: 'Inventory Main' }).waitFor()
    t.equal(await page.getByRole('button', { name: /^(Add|Pause|Change|Delete|Disable)/ }).count(), 0)
    await page.goto(`${service.url}/#/keys`)
    await page.getByRole('heading', { name: 'This page is not for your access key' }).waitFor()
    await page.goto(`${service.url}/#/create`)
    await page.getByLabel('Prompt', { exact: true }).fill('a second boat')
    await page.getByRole('button', { name: 'Submit job' }).click()
    await page.getByText(/The job is #/).waitFor()
    await page.goto(`${service.url}/#/queue`)
    await page.locator('.job', { hasText: 'a second boat' }).getByText('you (this web UI)').waitFor()

    await service.services.accessKeys.remove(ada.id)
    await page.getByText('Your session has ended').waitFor()
    t.equal(await page.getByText('a second boat').count(), 0)
    await page.getByRole('button', { name: 'Continue without a key' }).click()
    await page.getByText('Sign in with an access key').waitFor()
    t.strictSame(violations, [])
  })

  t.test('a person who may see all but change only its own is offered that', async t => {
    const ben = await keyHeaders(service, { name: 'Ben', scopes: ['jobs:read', 'jobs:read:all', 'jobs:write'] })
    await submit('a mill of Ben', ben.headers)
    const { page, violations } = await visit(service.url)
    await page.getByLabel('Admin token or access key').fill(words(ben))
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.locator('.job', { hasText: 'a boat of the administrator' }).waitFor()
    t.equal(await page.getByRole('button', { name: 'Cancel: a boat of the administrator' }).count(), 0)
    t.equal(await page.getByRole('button', { name: 'Cancel: a mill of Ben' }).count(), 1)
    t.equal(await page.getByRole('list', { name: 'Servers' }).count(), 0, 'and nothing asks for servers')

    await service.services.accessKeys.update(ben.id, { scopes: ['jobs:read'] })
    t.equal(await page.getByRole('link', { name: 'New job' }).count(), 1)
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await page.getByRole('link', { name: 'New job' }).waitFor({ state: 'detached' })
    await page.getByText('a boat of the administrator').first().waitFor({ state: 'detached' })
    t.equal(await page.getByRole('button', { name: 'Cancel: a mill of Ben' }).count(), 0, 'changed rights need no reload')
    t.strictSame(violations, [])
  })

  t.test('who signs out in one tab is signed out in all', async t => {
    const { page, violations } = await visit(service.url)
    await page.getByLabel('Admin token or access key').fill('a token of this test')
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByText('a mill of Ben').first().waitFor()
    const other = await page.context().newPage()
    await other.goto(service.url)
    await other.getByText('a mill of Ben').first().waitFor()
    await page.getByRole('button', { name: 'Sign out' }).click()
    for (const tab of [page, other]) await tab.getByText('Sign in with an access key').waitFor()
    t.equal(await other.getByText('a mill of Ben').count(), 0)
    await other.close()
    t.strictSame(violations, [])
  })
})

t.test('what a server does for others stays theirs', { skip }, async t => {
  const visit = await openBrowser(t)
  const service = await startService(t, { simulator: { stepMilliseconds: 300 } })
  const [ada, ben] = [await keyHeaders(service, { name: 'Ada' }), await keyHeaders(service, { name: 'Ben' })]
  const { body: { job_id: id } } = await service.request('POST', '/api/v2/generate', {
    generation_params: { ...quick, prompt: 'a boat of Ben', steps: 150 }
  }, ben.headers)
  await service.until(String(id), 'processing')
  await service.request('POST', '/api/v2/generate', { generation_params: { ...quick, prompt: 'a boat of Ada' } }, ada.headers)
  const { page, violations } = await visit('about:blank')
  const { 'X-API-Key': key, 'X-API-Secret': secret } = ada.headers
  t.equal((await page.request.post(`${service.url}/ui/session`, { data: { key, secret } })).status(), 204)
  await page.goto(service.url)
  await page.locator('.lane', { hasText: 'Main' }).getByText('Busy with another job.').waitFor()
  await page.getByRole('button', { name: 'All 1' }).click()
  await page.goto(`${service.url}/#/job/${String(id)}`)
  await page.getByRole('heading', { name: 'There is no such job' }).waitFor()
  t.equal(await page.getByText('a boat of Ben').count(), 0)
  t.strictSame(violations, [])
  await service.request('POST', `/api/v2/jobs/${String(id)}/cancel`, undefined, ben.headers)
})
