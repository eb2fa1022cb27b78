import t from 'tap'
import { quick, startService } from '../helper.ts'
import { openBrowser, skip } from './browser.ts'

t.test('the queue', { skip }, async t => {
  const visit = await openBrowser(t)
  const service = await startService(t, { worker: 'none', settings: { QUEUE_LIMIT_PER_KEY: '10000' } })

  t.test('waiting jobs are found, moved to the front, cancelled, retried and deleted', async t => {
    const ids = []
    for (const prompt of ['a red boat', 'a green boat', 'a blue house']) ids.push(await service.submit({ ...quick, prompt }))
    const { page, violations } = await visit(service.url)
    const rows = page.locator('.job')
    await rows.nth(2).waitFor()
    t.match(await rows.nth(0).textContent(), /a red boat.*#1 in queue/s)

    await page.getByRole('button', { name: 'Run now: a blue house' }).click()
    await page.locator('.job').first().filter({ hasText: 'a blue house' }).waitFor()

    await page.getByRole('searchbox', { name: 'Search prompts' }).fill('boat')
    await rows.nth(2).waitFor({ state: 'detached' })
    await page.getByRole('button', { name: 'Cancel: a red boat' }).click()
    await page.locator('.job', { hasText: 'a red boat' }).filter({ hasText: 'Cancelled' }).waitFor()
    t.equal((await service.job(ids[0] ?? '')).status, 'cancelled')

    await page.getByRole('button', { name: /^Waiting/ }).click()
    await rows.nth(1).waitFor({ state: 'detached' })
    t.match(page.url(), /status=pending/, 'a view can be kept as an address')
    await page.getByRole('button', { name: /^Cancelled/ }).click()
    await page.getByRole('button', { name: 'Retry: a red boat' }).click()
    await page.getByText('No job matches these filters').waitFor()
    t.equal((await service.job(ids[0] ?? '')).status, 'pending')

    await page.goto(`${service.url}/#/job/${ids[1]}`)
    await page.getByRole('button', { name: 'Cancel: a green boat' }).click()
    await page.getByRole('button', { name: 'Delete: a green boat' }).click()
    await page.getByRole('button', { name: 'Keep it' }).click()
    // The focus is back where it came from.
    await page.locator('[aria-label^=Delete]:focus').waitFor()
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
    await page.waitForURL(/#\/queue/)
    t.equal((await service.request('GET', `/api/v2/jobs/${ids[1]}`)).status, 404)
    t.strictSame(violations, [])
  })

  t.test('a queue of any length is browsed, reordered and changed as a whole', async t => {
    t.match((await service.request('POST', '/api/v2/jobs/actions', { action: 'delete', all: true })).body, { done: 2 })
    const count = 260
    for (let index = 0; index < 5; index++) await service.submit({ ...quick, prompt: `picture ${index}` }, { target_server_alias: 'Main' })
    for (const quantity of [100, 100, 54]) {
      const { status } = await service.request('POST', '/api/v2/generate/bulk', {
        target_server_alias: 'Main', generation_params: { ...quick, prompt: 'one of many' }, bulk_quantity: quantity
      })
      t.equal(status, 202)
    }
    await service.submit({ ...quick, prompt: `picture ${count - 1}` }, { target_server_alias: 'Main' })
    const { page, violations } = await visit(`${service.url}/#/queue`)
    await page.getByRole('link', { name: `and ${count - 20} more waiting` }).click()
    const rows = page.locator('.endless .job')
    await rows.first().getByText('picture 0', { exact: true }).waitFor()
    t.ok(await rows.count() < 60, 'only what is in sight exists')

    await page.getByRole('button', { name: 'Move down: picture 0' }).click()
    await page.locator('.endless .job[aria-posinset="1"]', { hasText: 'picture 1' }).waitFor()
    await page.getByRole('button', { name: 'Move up: picture 3' }).click()
    await page.locator('.endless .job[aria-posinset="3"]', { hasText: 'picture 3' }).waitFor()
    await page.getByLabel('Priority: picture 2').selectOption('9')
    await page.locator('.endless .job[aria-posinset="2"]', { hasText: 'picture 2' }).waitFor()

    await page.evaluate('scrollTo(0, document.body.scrollHeight)')
    await page.locator(`.endless .job[aria-posinset="${count}"]`, { hasText: `picture ${count - 1}` }).waitFor()
    const row = (place: number) => page.locator(`.endless .job[aria-posinset="${place}"] input[type=checkbox]`)
    await row(count).click()
    await row(count - 4).click({ modifiers: ['Shift'] })
    const chosen = page.getByRole('region', { name: 'Chosen jobs' })
    await chosen.getByText('5 jobs').waitFor()
    await chosen.getByRole('button', { name: 'Cancel' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel 5 jobs' }).click()
    await page.getByRole('status').getByText('5 jobs were cancelled').waitFor()
    t.match((await service.request('GET', '/api/v2/jobs?status=cancelled')).body, { total: 5 })

    t.equal((await service.request('POST', '/api/v1/servers', { alias: 'Other', apiUrl: 'http://127.0.0.1:9' })).status, 201)
    await page.evaluate('scrollTo(0, 0)')
    await page.getByLabel('Server', { exact: true }).selectOption('Main')
    await page.getByText('In the order in which they run').waitFor()
    await row(1).click()
    await chosen.getByRole('button', { name: 'Move' }).click()
    await page.getByRole('dialog').getByLabel('New server').selectOption('Other')
    await page.getByRole('dialog').getByRole('button', { name: 'Move 1 job' }).click()
    await page.getByRole('status').getByText('1 job was moved to the other server').waitFor()
    t.match((await service.request('GET', '/api/v2/jobs?server=Other')).body,
      { total: 1, jobs: [{ generation_params: { prompt: 'picture 1' } }] })

    await row(1).click()
    await chosen.getByRole('button', { name: `Choose all ${count - 6}` }).click()
    await chosen.getByRole('button', { name: 'Delete' }).click()
    await page.getByRole('dialog').getByRole('button', { name: `Delete ${count - 6} jobs` }).click()
    await page.getByText('No job matches these filters').waitFor()
    t.match((await service.request('GET', '/api/v2/jobs')).body, { total: 6 })
    t.strictSame(violations, [])
  })

  t.test('Shift and a click choose all jobs between, also over more than one answer of the service has', async t => {
    await service.request('POST', '/api/v2/jobs/actions', { action: 'delete', all: true })
    for (let left = 1010; left > 0; left -= 100) {
      const { status } = await service.request('POST', '/api/v2/generate/bulk', {
        target_server_alias: 'Main', generation_params: { ...quick, prompt: 'one of many' }, bulk_quantity: Math.min(100, left)
      })
      t.equal(status, 202)
    }
    for (const query of ['status=pending&server=Main', 'status=all']) {
      const { page, violations } = await visit(`${service.url}/#/queue?${query}`)
      const row = (place: number) => page.locator(`.endless .job[aria-posinset="${place}"] input[type=checkbox]`)
      await row(1).click()
      await page.evaluate('scrollTo(0, document.body.scrollHeight)')
      await row(1009).click({ modifiers: ['Shift'] })
      await page.getByRole('region', { name: 'Chosen jobs' }).getByText('1,009 jobs').waitFor()
      t.strictSame(violations, [])
    }
  })

  t.test('only the jobs that the dialog counted are deleted, whatever arrives meanwhile', async t => {
    const { page, violations } = await visit(`${service.url}/#/queue?status=pending&search=many`)
    await page.getByText('The first 1,000 of 1,010 jobs.').waitFor()
    await page.locator('.endless .job[aria-posinset="1"] input[type=checkbox]').click()
    const chosen = page.getByRole('region', { name: 'Chosen jobs' })
    await chosen.getByRole('button', { name: 'Choose all 1,010' }).click()
    await chosen.getByRole('button', { name: 'Delete' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByText('Delete 1,010 jobs?').waitFor()
    const late = await service.submit({ ...quick, prompt: 'one of many, and late' })
    await dialog.getByRole('button', { name: 'Delete 1,010 jobs' }).click()
    // Each is deleted with its files, which takes a busy machine a while.
    await page.getByRole('status').getByText('1010 jobs were deleted').waitFor({ timeout: 120_000 })
    t.match((await service.request('GET', '/api/v2/jobs')).body, { total: 1, jobs: [{ id: late }] })

    await page.locator('.endless .job', { hasText: 'and late' }).getByRole('checkbox').click()
    await chosen.getByRole('button', { name: 'Cancel' }).click()
    await dialog.getByRole('button', { name: 'Cancel 1 job' }).waitFor()
    await page.getByRole('button', { name: 'Keep it' }).click()
    await page.goto(`${service.url}/#/queue?status=all`)
    await page.locator('.endless .job input[type=checkbox]').first().click()
    const expectFewer = async (requests: number) => await page.route('**/jobs/actions', async route => {
      const asked = route.request().postDataJSON() as { dry_run?: boolean }
      await route.continue(asked.dry_run === true ? {} : { postData: JSON.stringify({ ...asked, expected: 0 }) })
    }, { times: requests })
    await expectFewer(2)
    await chosen.getByRole('button', { name: 'Cancel' }).click()
    await dialog.getByRole('button', { name: 'Cancel 1 job' }).click()
    await dialog.getByText('More jobs match by now. Nothing was done yet.').waitFor()
    t.equal((await service.job(late)).status, 'pending')
    // A second click of a double click confirms no number that nobody has read.
    await dialog.locator('.danger:not([aria-busy])').click()
    await page.getByRole('status').getByText('1 job was cancelled').waitFor()

    await page.locator('.endless .job input[type=checkbox]').first().click()
    await expectFewer(1)
    await chosen.getByRole('button', { name: 'Retry' }).click()
    await page.getByText('More jobs match by now. Nothing was done yet.').waitFor()
    t.equal((await service.job(late)).status, 'cancelled', 'an action without a dialog says so, too')
    t.strictSame(violations, [])
  })

  t.test('running jobs show their progress, and a queue is paused and resumed', async t => {
    const service = await startService(t, { simulator: { stepMilliseconds: 250 } })
    const { page, violations } = await visit(service.url)
    await page.getByText('No jobs yet').waitFor()
    const id = await service.submit({ ...quick, prompt: 'a slow river', steps: 100 })
    await page.locator('.running .job', { hasText: 'a slow river' }).waitFor()
    const progress = page.getByRole('progressbar', { name: 'Progress at Main' })
    const first = Number(await progress.getAttribute('value'))
    while (Number(await progress.getAttribute('value')) <= first) await page.waitForTimeout(30)
    await page.locator('.running .job-picture img[src*="/preview"]').waitFor()
    // A page without events, so that only the list can say where the picture is.
    const other = await visit('about:blank', { viewport: { width: 1000, height: 601 } })
    await other.page.route('**/api/v1/events*', async route => { await route.abort() })
    await other.page.goto(service.url)
    const picture = other.page.locator('.running .job-picture img')
    await picture.waitFor()
    t.match(await picture.getAttribute('src'), /\/api\/v2\/jobs\/[^/]+\/preview\?missing=empty$/)
    await other.page.close()
    await page.getByRole('button', { name: 'Pause Main' }).click()
    await page.getByLabel('Reason').fill('lunch')
    await page.keyboard.press('Enter')
    await page.locator('.lane.held').waitFor()
    await page.getByRole('button', { name: 'Cancel: a slow river' }).first().click()
    await page.locator('.lane', { hasText: 'lunch' }).waitFor()
    await page.getByRole('button', { name: 'Resume Main' }).click()
    await page.locator('.lane', { hasText: 'ready for the next job' }).waitFor()
    await page.route('**/api/v2/**', async route => { await route.abort() })
    await page.getByRole('button', { name: /^Cancelled/ }).click()
    await page.getByText('The service does not answer; it is possibly restarting').waitFor()
    await page.unroute('**/api/v2/**')
    await page.getByRole('button', { name: /^All/ }).click()
    await page.locator('.job', { hasText: 'a slow river' }).waitFor()
    await page.getByText('The service does not answer').waitFor({ state: 'detached' })
    t.equal((await service.until(id, 'cancelled')).status, 'cancelled')
    t.strictSame(violations, [])
  })
})
