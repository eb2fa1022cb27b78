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
