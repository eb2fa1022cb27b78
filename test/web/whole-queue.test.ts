import t from 'tap'
import type { Locator, Page } from 'playwright-core'
import { quick, startService, type JsonBody } from '../helper.ts'
import { keyHeaders } from '../api/access-key.ts'
import { seriousFindings } from './axe.ts'
import { openBrowser, skip } from './browser.ts'

t.test('the queue of all servers in one list', { skip }, async t => {
  const visit = await openBrowser(t)
  const service = await startService(t)
  const { request } = service
  const setQueues = async (enabled: boolean) => await request('PUT', '/api/v1/settings/queue-processing', { enabled })
  const count = async (status: string) => Number((await request('GET', `/api/v2/jobs?status=${status}&limit=1`)).body.total)
  await request('POST', '/api/v1/servers', { alias: 'Attic', apiUrl: 'http://127.0.0.1:9' })

  const waiting = (page: Page) => page.getByRole('list', { name: 'Waiting jobs' }).locator('.job')
  async function orderIs (rows: Locator, ...prompts: string[]) {
    for (const [index, prompt] of prompts.entries()) await rows.nth(index).getByText(prompt, { exact: true }).waitFor()
  }

  t.test('jobs of all servers are in one order, and are dragged and moved by keys', async t => {
    await setQueues(false)
    const key = await keyHeaders(service, { name: 'Render farm' })
    await service.submit({ ...quick, prompt: 'boat one' }, { target_server_alias: 'Main' })
    await service.submit({ ...quick, prompt: 'boat two' }, { target_server_alias: 'Attic' })
    await service.submit({ ...quick, prompt: 'boat three' }, { target_server_alias: 'Main', source_info: 'web ui' })
    await service.submit({ ...quick, prompt: 'boat four' }, { target_server_alias: 'Attic' })
    // High enough that the list need not scroll.
    const { page, violations } = await visit(service.url, { viewport: { width: 1000, height: 1000 } })
    const rows = waiting(page)
    await orderIs(rows, 'boat one', 'boat two', 'boat three', 'boat four')
    t.match(await rows.nth(1).textContent(), /Attic.*API.*#\d in queue/s, 'its server, the way it came and its place')
    t.match(await rows.nth(2).textContent(), /this web UI/)

    const handle = (index: number) => rows.nth(index).locator('.handle')
    async function drag (from: number, to: number, height: number) {
      await handle(from).hover()
      const target = await rows.nth(to).boundingBox()
      await page.mouse.down()
      await page.mouse.move(400, (target?.y ?? 0) + (target?.height ?? 0) * height, { steps: 4 })
      await page.locator('.drop-before, .drop-after').waitFor()
      await page.mouse.up()
    }
    await drag(3, 0, 0.2)
    await orderIs(rows, 'boat four', 'boat one', 'boat two', 'boat three')
    await drag(0, 3, 0.8)
    await orderIs(rows, 'boat one', 'boat two', 'boat three', 'boat four')
    await handle(2).hover()
    await page.mouse.down()
    await page.mouse.move(400, 300, { steps: 4 })
    await page.keyboard.press('Escape')
    await page.mouse.up()
    await orderIs(rows, 'boat one', 'boat two', 'boat three', 'boat four')

    await page.getByRole('button', { name: 'Move down: boat two' }).focus()
    await page.keyboard.press('Alt+ArrowDown')
    await orderIs(rows, 'boat one', 'boat three', 'boat two', 'boat four')
    await page.locator('[aria-label="Move down: boat two"]:focus').waitFor()
    await page.keyboard.press('Alt+Shift+ArrowUp')
    await orderIs(rows, 'boat two', 'boat one', 'boat three', 'boat four')
    await page.getByRole('button', { name: 'Move to the end: boat two' }).click()
    await orderIs(rows, 'boat one', 'boat three', 'boat four', 'boat two')
    const { waiting: line } = (await request('GET', '/api/v2/queue')).body
    t.strictSame((line as JsonBody[]).map(({ prompt }) => prompt), ['boat one', 'boat three', 'boat four', 'boat two'])

    await request('POST', '/api/v2/generate', { target_server_alias: 'Main', generation_params: { ...quick, prompt: 'a mill' } }, key.headers)
    await page.locator('.job', { hasText: 'a mill' }).getByText('Render farm (API)').waitFor()
    t.strictSame(await seriousFindings(page), [])
    t.strictSame(violations, [])
  })

  t.test('all is paused, resumed and cancelled at once, a group as one', async t => {
    const { page, violations } = await visit(service.url)
    await request('POST', '/api/v1/servers/Attic/drain')
    await page.locator('.lane', { hasText: 'Attic' }).getByText(/Drain/).first().waitFor()
    await page.getByText('The queue is off: jobs are accepted').waitFor()
    await page.getByRole('button', { name: 'Cancel all waiting' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel 5 jobs' }).click()
    await page.getByRole('status').getByText('5 jobs were cancelled').waitFor()
    t.equal(await count('cancelled'), 5)

    await request('POST', '/api/v2/generate/bulk', {
      target_server_alias: 'Main', bulk_quantity: 12, generation_params: { ...quick, prompt: 'one of a dozen' }
    })
    await page.getByRole('button', { name: 'Cancel: one of a dozen' }).first().click()
    await page.getByText('1 of 12').first().waitFor()
    await page.goto(`${service.url}/#/queue?status=pending`)
    await page.locator('.endless').getByRole('button', { name: 'Its group: 1 of 12 ended' }).first().click()
    const dialog = page.getByRole('dialog', { name: 'Jobs that belong together' })
    await dialog.getByText('12 jobs: 11 waiting, 1 cancelled.').waitFor()
    t.strictSame(await seriousFindings(page), [])
    await dialog.getByRole('button', { name: 'Cancel those that wait' }).click()
    await page.getByRole('button', { name: 'Cancel 11 jobs of this group' }).click()
    await page.getByText('No job matches these filters').waitFor()
    t.equal(await count('cancelled'), 17)

    await page.getByRole('button', { name: 'Resume all' }).click()
    await page.getByText('The queue is off: jobs are accepted').waitFor({ state: 'detached' })
    await page.getByRole('button', { name: 'Pause all' }).click()
    await page.getByText('The queue is off: jobs are accepted').waitFor()
    t.match((await request('GET', '/api/v2/queue')).body, { enabled: false })
    await page.getByRole('button', { name: 'Resume all' }).click()
    t.strictSame(violations, [])
  })

  t.test('failed jobs are shown by cause, and exactly those are tried again', async t => {
    await setQueues(true)
    service.simulator.setFaults([{ kind: 'nan', prompt: 'dark', sticky: true }, { kind: 'runtime-error', prompt: 'odd', sticky: true }])
    const failed = []
    for (const prompt of ['dark', 'dark', 'odd']) failed.push(await service.submit({ ...quick, prompt }, { target_server_alias: 'Main' }))
    for (const id of failed) await service.until(id, 'failed')
    const { page, violations } = await visit(service.url)
    await page.getByRole('link', { name: '3 failed jobs by cause' }).click()
    const causes = page.getByRole('region', { name: '3 failed jobs by cause' })
    await causes.getByText('nan', { exact: true }).waitFor()
    t.strictSame(await seriousFindings(page), [])
    await setQueues(false)
    await causes.getByRole('button', { name: 'Retry 2: nan' }).click()
    const left = page.getByRole('region', { name: '1 failed job by cause' })
    await left.waitFor()
    t.equal(await count('pending'), 2)
    service.simulator.reset()
    const sent = page.waitForRequest(/jobs\/actions/)
    await left.getByRole('button', { name: 'Retry all 1 failed' }).click()
    t.match((await sent).postDataJSON(), { action: 'retry', expected: 1, created_before: String, filter: { status: 'failed' } })
    await page.getByText('No job matches these filters').waitFor()
    await setQueues(true)
    for (const id of failed) await service.until(id, 'completed')
    t.strictSame(violations, [])
  })

  t.test('a waiting job is edited, with errors under their fields, and the server gets the new parameters', async t => {
    await setQueues(false)
    const id = await service.submit({ ...quick, prompt: 'a dull meadow', seed: 7 }, { target_server_alias: 'Main' })
    const { page, violations } = await visit(service.url)
    await page.getByRole('button', { name: 'Edit: a dull meadow' }).click()
    const dialog = page.getByRole('dialog', { name: 'Change this job' })
    await dialog.getByLabel('Prompt', { exact: true }).fill('a bright volcano <lora:nothing-like-it:1>')
    await dialog.getByLabel('Steps').fill('3')
    await dialog.getByLabel('Priority').selectOption('8')
    await dialog.getByLabel('Seed').fill('')
    // A row that moves or goes must not take the form with it.
    await service.submit({ ...quick, prompt: 'ahead of it' }, { priority: 10 })
    await waiting(page).first().getByText('ahead of it').waitFor()
    await dialog.getByRole('button', { name: 'Save' }).click()
    await dialog.getByText(/nothing-like-it.*cannot be found|no LoRA|nothing-like-it/i).last().waitFor()
    t.match(await service.job(id), { priority: 5, generation_params: { prompt: 'a dull meadow' } }, 'nothing has changed')
    t.strictSame(await seriousFindings(page), [])
    await dialog.getByLabel('Prompt', { exact: true }).fill('a bright volcano')
    const sent = page.waitForRequest(request => request.method() === 'PATCH')
    await dialog.getByRole('button', { name: 'Save' }).click()
    t.strictSame((await sent).postDataJSON(), { generation_params: { prompt: 'a bright volcano', steps: 3, seed: null }, priority: 8 })
    await dialog.waitFor({ state: 'detached' })
    await page.locator('.job', { hasText: 'a bright volcano' }).waitFor()

    await page.goto(`${service.url}/#/job/${id}`)
    await page.getByRole('button', { name: 'Edit: a bright volcano' }).click()
    await dialog.getByLabel('Width').fill('72')
    await setQueues(true)
    await service.until(id, 'completed')
    t.match(await service.job(id), { generation_params: { steps: 3, prompt: 'a bright volcano', width: 64 } })
    await dialog.getByRole('button', { name: 'Save' }).click()
    await dialog.getByRole('alert').waitFor()
    t.strictSame(violations, [])
  })
})
