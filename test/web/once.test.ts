import type { Page } from 'playwright-core'
import t from 'tap'
import { quick, startService } from '../helper.ts'
import { openBrowser, skip } from './browser.ts'

t.test('a double click makes one action, also on a slow network', { skip }, async t => {
  const visit = await openBrowser(t)
  const service = await startService(t)
  const { request, submit } = service
  await request('POST', '/api/v1/servers', { alias: 'Attic', apiUrl: 'http://127.0.0.1:9' })
  const waiting = async (prompt: string) => await submit({ ...quick, prompt }, { target_server_alias: 'Attic' })

  /** Holds back the answers to changes until `answer` is called; `sent` has their paths. */
  async function slow (page: Page) {
    const sent: string[] = []
    let release = () => {}
    const isReleased = new Promise<void>(resolve => { release = resolve })
    await page.route(({ pathname }) => pathname.startsWith('/api/'), async route => {
      if (route.request().method() !== 'GET') {
        sent.push(new URL(route.request().url()).pathname)
        await isReleased
      }
      await route.continue()
    })
    return { sent, answer: release }
  }

  t.test('of a job', async t => {
    for (const [name, word, end] of [['Cancel', 'cancel', 'Cancelled'], ['Retry', 'retry', 'Waiting']] as const) {
      const id = await waiting(`a boat to ${word}`)
      if (word === 'retry') await request('POST', `/api/v2/jobs/${id}/cancel`)
      const { page, violations } = await visit(`${service.url}/#/job/${id}`)
      const { sent, answer } = await slow(page)
      const button = page.getByRole('button', { name: `${name}: a boat to ${word}` })
      await button.dblclick()
      await button.click()
      await page.locator(`[aria-label="${name}: a boat to ${word}"][aria-busy=true]:focus`).waitFor()
      answer()
      await page.locator('.job-status', { hasText: end }).waitFor()
      t.strictSame(sent, [`/api/v2/jobs/${id}/${word}`])
      t.equal(await page.locator('.message.problem').count(), 0)
      t.strictSame(violations, [])
    }
  })

  t.test('that confirms the deletion of many', async t => {
    const { page, violations } = await visit(`${service.url}/#/queue?status=pending&server=Attic`)
    await page.locator('.endless .job input').first().check()
    await page.getByRole('button', { name: 'Delete' }).click()
    const { sent, answer } = await slow(page)
    const confirm = page.getByRole('dialog').getByRole('button', { name: 'Delete 1 job' })
    await confirm.dblclick()
    answer()
    await confirm.waitFor({ state: 'detached' })
    t.strictSame(sent, ['/api/v2/jobs/actions'])
    t.strictSame(violations, [])
  })
})

t.test('a submission whose answer is lost makes no second job when it is clicked again', { skip }, async t => {
  const visit = await openBrowser(t)
  const service = await startService(t)
  const { request } = service
  await request('POST', '/api/v1/servers', { alias: 'Attic', apiUrl: 'http://127.0.0.1:9' })
  const jobsWith = async (word: string) =>
    ((await request('GET', `/api/v2/jobs?search=${word}`)).body.jobs as Array<{ group: string | null, seed: unknown }>)

  /** Lets the submission with this number reach the service and loses its answer. */
  async function loseAnswer (page: Page, number: number) {
    let sent = 0
    await page.route(({ pathname }) => pathname === '/api/v2/generate', async route => {
      if (++sent !== number) return await route.continue()
      await route.fetch()
      await route.abort('connectionreset')
    })
  }

  async function fill (page: Page, prompt: string) {
    await page.getByLabel('Prompt', { exact: true }).fill(prompt)
    await page.getByLabel('Server', { exact: true }).selectOption('Attic')
  }

  const isLost = (page: Page) => page.locator('form [role=alert]', { hasText: /not answer/ }).waitFor()

  t.test('one job', async t => {
    const { page, violations } = await visit(`${service.url}/#/create`)
    await loseAnswer(page, 1)
    await fill(page, 'a pier')
    const submit = page.getByRole('button', { name: 'Submit job' })
    await submit.click()
    await isLost(page)
    t.equal((await jobsWith('pier')).length, 1)
    await submit.click()
    await page.locator('.results > li').first().waitFor()
    t.equal((await jobsWith('pier')).length, 1)
    // So that the click is not the second of a double click.
    await page.reload()
    await submit.click()
    await page.locator('.results > li').first().waitFor()
    t.equal((await jobsWith('pier')).length, 2, 'the next click is a new wish')
    t.strictSame(violations, [])
  })

  t.test('also after a reload, but not after a change', async t => {
    const { page } = await visit(`${service.url}/#/create`)
    await loseAnswer(page, 1)
    await fill(page, 'a canal')
    const submit = page.getByRole('button', { name: 'Submit job' })
    await submit.click()
    await isLost(page)
    await page.unrouteAll()
    await page.reload()
    await submit.click()
    await page.locator('.results > li').first().waitFor()
    t.equal((await jobsWith('canal')).length, 1)
    await loseAnswer(page, 1)
    await fill(page, 'a canal in fog')
    await submit.click()
    await isLost(page)
    await fill(page, 'a canal in rain')
    await submit.click()
    await page.locator('.results > li').nth(1).waitFor()
    t.equal((await jobsWith('canal')).length, 3)
  })

  t.test('a sweep', async t => {
    const { page } = await visit(`${service.url}/#/create`)
    await loseAnswer(page, 2)
    await fill(page, 'a dune')
    await page.getByRole('button', { name: 'Vary a parameter' }).click()
    await page.getByLabel('Values', { exact: true }).fill('10, 11, 12')
    const submit = page.getByRole('button', { name: 'Submit 3 jobs' })
    await submit.click()
    await isLost(page)
    t.equal((await jobsWith('dune')).length, 2)
    await submit.click()
    await page.locator('.results > li').nth(2).waitFor()
    const made = await jobsWith('dune')
    t.equal(made.length, 3)
    t.equal(new Set(made.map(({ group }) => group)).size, 1)
    t.equal(await page.locator('.results > li').count(), 3)
  })
})
