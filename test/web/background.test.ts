import t from 'tap'
import type { Locator, Page } from 'playwright-core'
import { quick, startService, type JsonBody } from '../helper.ts'
import { seriousFindings } from './axe.ts'
import { openBrowser, skip } from './browser.ts'
import { overlapsIn } from './overlap.ts'

t.test('waiting jobs go to the background and come back', { skip }, async t => {
  const visit = await openBrowser(t)
  const service = await startService(t, { worker: 'none' })
  const { request, submit } = service

  const waiting = (page: Page) => page.getByRole('list', { name: 'Waiting jobs' }).locator('.job')
  async function orderIs (page: Page, ...prompts: string[]) {
    for (const [index, prompt] of prompts.entries()) {
      await waiting(page).nth(index).getByText(prompt, { exact: true }).waitFor()
    }
  }
  const patch = (page: Page) => page.waitForRequest(sent => sent.method() === 'PATCH')
  const action = (page: Page) => page.waitForRequest(sent =>
    sent.url().endsWith('/jobs/actions') && (sent.postDataJSON() as JsonBody).dry_run === undefined)
  const inBackground = async () => {
    const { jobs } = (await request('GET', '/api/v2/jobs?status=pending&background=true&order=line&view=short')).body
    return (jobs as JsonBody[]).map(({ prompt }) => prompt)
  }

  for (const prompt of ['a large mural', 'a second mural', 'a small thing']) await submit({ ...quick, prompt })

  t.test('by the mouse, and by a key that keeps the focus on the job', async t => {
    const { page, violations } = await visit(service.url)
    await orderIs(page, 'a large mural', 'a second mural', 'a small thing')
    const sent = patch(page)
    await page.getByRole('button', { name: 'Run in the background: a large mural' }).click()
    t.strictSame((await sent).postDataJSON(), { background: true })
    await orderIs(page, 'a second mural', 'a small thing', 'a large mural')
    await waiting(page).nth(2).getByText('background', { exact: true }).waitFor()
    t.match((await (await (await sent).response())?.json() as JsonBody).message, 'The job runs in the background: it is number 3 in the queue.')

    await page.getByRole('button', { name: 'Edit: a second mural' }).focus()
    await page.keyboard.press('Alt+b')
    await orderIs(page, 'a small thing', 'a large mural', 'a second mural')
    const back = page.getByRole('button', { name: 'Bring back: a second mural' })
    await page.locator('[aria-label="Bring back: a second mural"]:focus').waitFor()
    t.strictSame(await inBackground(), ['a large mural', 'a second mural'])
    await page.keyboard.press('Alt+b')
    await orderIs(page, 'a small thing', 'a second mural', 'a large mural')
    await back.waitFor({ state: 'detached' })

    await page.locator('h1').focus()
    await page.keyboard.press('?')
    await page.getByRole('dialog').getByText('Alt + B', { exact: true }).waitFor()
    t.strictSame(await seriousFindings(page), [])
    await page.keyboard.press('Escape')
    t.strictSame(violations, [])
  })

  t.test('several at once: exactly those that were chosen, and a whole group', async t => {
    await request('POST', '/api/v2/generate/bulk', { bulk_quantity: 30, generation_params: { ...quick, prompt: 'one of thirty' } })
    const { page, violations } = await visit(`${service.url}/#/queue?status=pending`)
    const box = (prompt: string) => page.locator('.endless .job', { hasText: prompt }).getByRole('checkbox').first()
    await box('a small thing').click()
    await box('a second mural').click()
    const chosen = page.getByRole('region', { name: 'Chosen jobs' })
    await chosen.getByText('2 jobs').waitFor()
    const some = action(page)
    await chosen.getByRole('button', { name: 'To background' }).click()
    t.match((await some).postDataJSON(), { action: 'background', expected: 2, ids: { length: 2 } })
    await page.getByRole('status').getByText('2 jobs were moved into the background').waitFor()

    // Those that went to the end of the list are out of sight.
    await box('one of thirty').click()
    await chosen.getByRole('button', { name: 'Choose all 33' }).click()
    const all = action(page)
    await chosen.getByRole('button', { name: 'Bring back' }).click()
    t.match((await all).postDataJSON(),
      { action: 'foreground', expected: 33, created_before: /Z$/, filter: { status: 'pending' } })
    await page.getByRole('status').getByText('33 jobs were moved out of the background').waitFor()
    t.strictSame(await inBackground(), [])

    const chip = page.locator('.endless').getByRole('button', { name: 'Its group: 0 of 30 ended' }).first()
    await chip.click()
    const dialog = page.getByRole('dialog', { name: 'Jobs that belong together' })
    await dialog.getByRole('button', { name: 'Run those that wait in the background' }).click()
    await page.getByRole('button', { name: 'Run 30 jobs in the background' }).click()
    await page.getByRole('status').getByText('30 jobs were moved into the background').waitFor()
    t.equal((await inBackground()).length, 30)
    await page.locator('.endless .job', { hasText: 'one of thirty' }).getByText('background', { exact: true }).first().waitFor()
    await chip.click()
    t.strictSame(await seriousFindings(page), [])
    await dialog.getByRole('button', { name: 'Bring those in the background back' }).click()
    await page.getByRole('button', { name: 'Bring 30 jobs back' }).click()
    await page.getByRole('status').getByText('30 jobs were moved out of the background').waitFor()
    t.strictSame(await inBackground(), [])

    for (const query of ['status=all', 'search=one+of+thirty']) {
      await page.evaluate(`window.location.hash = '#/queue?${query}'`)
      await page.locator('.jobs').getByRole('button', { name: 'Its group: 0 of 30 ended' }).first().waitFor()
    }
    t.strictSame(violations, [])
  })

  t.test('a finger drags a job to another place, also beside the checkbox of its row', async t => {
    await request('POST', '/api/v2/jobs/actions', { action: 'cancel', filter: { status: 'pending', search: 'thirty' } })
    const phone = { viewport: { width: 390, height: 781 }, hasTouch: true, isMobile: true }
    const { page, violations } = await visit(`${service.url}/#/queue?status=pending`, phone)
    const rows = page.locator('.endless .job')
    const { jobs } = (await request('GET', '/api/v2/jobs?status=pending&order=line&view=short')).body
    const [first, second, third] = (jobs as JsonBody[]).map(({ prompt }) => String(prompt))
    const listIs = async (...prompts: Array<string | undefined>) => {
      for (const [index, prompt = ''] of prompts.entries()) await rows.nth(index).getByText(prompt, { exact: true }).waitFor()
    }
    await listIs(first, second, third)
    const boxOf = async (place: Locator) => {
      // A row that the next answer replaces at this moment has none.
      for (;;) {
        const box = await place.boundingBox()
        if (box !== null) return box
      }
    }
    const [handle, target] = [await boxOf(rows.nth(2).locator('.handle')), await boxOf(rows.nth(0))]
    const [x, y, end] = [handle.x + handle.width / 2, handle.y + handle.height / 2, target.y + 8]
    const devtools = await page.context().newCDPSession(page)
    const touch = async (type: 'touchStart' | 'touchMove' | 'touchEnd', ...touchPoints: Array<{ x: number, y: number }>) => {
      await devtools.send('Input.dispatchTouchEvent', { type, touchPoints })
    }
    await touch('touchStart', { x, y })
    for (let step = 1; step <= 4; step++) await touch('touchMove', { x, y: y + (end - y) * step / 4 })
    await page.locator('.drop-before').waitFor()
    await touch('touchEnd')
    await listIs(third, first, second)
    t.strictSame(violations, [])
  })

  t.test('by a finger, and on the page of a job', async t => {
    await request('POST', '/api/v2/jobs/actions', { action: 'cancel', filter: { status: 'pending', search: 'thirty' } })
    const phone = { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true }
    const { page, violations } = await visit(service.url, phone)
    await page.getByRole('button', { name: 'Actions: a large mural' }).tap()
    t.strictSame(await overlapsIn(page), [])
    t.strictSame(await seriousFindings(page), [])
    await page.getByRole('button', { name: 'Run in the background: a large mural' }).tap()
    await page.getByRole('button', { name: 'Bring back: a large mural' }).waitFor()
    t.strictSame(await inBackground(), ['a large mural'])
    t.strictSame(await overlapsIn(page), [])
    await page.getByRole('button', { name: 'Actions: a large mural' }).tap()
    await page.getByRole('link', { name: 'a large mural' }).tap()
    await page.getByText('5, in the background', { exact: true }).waitFor()
    await page.getByRole('button', { name: 'Bring back: a large mural' }).tap()
    await page.getByRole('button', { name: 'Run in the background: a large mural' }).waitFor()
    t.strictSame(await inBackground(), [])
    t.strictSame(await overlapsIn(page), [])
    t.strictSame(await seriousFindings(page), [])
    t.strictSame(violations, [])
  })
})

t.test('a key whose jobs go to the background', { skip }, async t => {
  const visit = await openBrowser(t)
  const { url, request } = await startService(t, { worker: 'none' })
  const { page, violations } = await visit(`${url}/#/keys`)
  await page.getByRole('button', { name: 'New key' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByLabel('Name').fill('Batch renders')
  await dialog.getByLabel('Run its jobs in the background').check()
  t.strictSame(await seriousFindings(page), [])
  const made = page.waitForRequest(sent => sent.method() === 'POST')
  await dialog.getByRole('button', { name: 'Create key' }).click()
  t.match((await made).postDataJSON(), { background: true })
  await dialog.locator('code', { hasText: 'mk_' }).waitFor()
  const [key = '', secret = ''] = await dialog.locator('code').allTextContents()
  await dialog.getByRole('button', { name: 'I have saved it' }).click()
  await page.getByText('run in the background unless they say otherwise').waitFor()

  t.equal((await page.request.post(`${url}/ui/session`, { data: { key, secret } })).status(), 204)
  await page.goto('about:blank')
  await page.goto(`${url}/#/create`)
  await page.getByLabel('Prompt', { exact: true }).fill('a patient harbour')
  const choice = page.getByLabel('In the background')
  t.ok(await choice.isChecked(), 'its jobs begin there')
  await choice.uncheck()
  const sent = page.waitForRequest(asked => asked.url().endsWith('/api/v2/generate'))
  await page.getByRole('button', { name: 'Submit job' }).click()
  t.match((await sent).postDataJSON(), { background: false })
  await page.getByText(/The job is #/).first().waitFor()
  t.match((await request('GET', '/api/v2/jobs')).body, { jobs: [{ background: false }] })
  await page.getByRole('button', { name: 'Start over' }).click()
  await page.locator('input[type=checkbox]:checked').first().waitFor()
  t.ok(await choice.isChecked(), 'as for a new job')
  t.strictSame(violations, [])
})
