import t from 'tap'
import { readFile } from 'node:fs/promises'
import { startService } from '../helper.ts'
import { seriousFindings } from './axe.ts'
import { openBrowser, skip } from './browser.ts'

t.test('a server is checked from the Servers page', { skip }, async t => {
  const visit = await openBrowser(t)
  const service = await startService(t, { simulator: { stepMilliseconds: 5 } })
  const { page, violations } = await visit(`${service.url}/#/servers`)
  await page.getByRole('button', { name: 'Check Main' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByText('Further checks').click()
  await dialog.getByLabel('Another checkpoint').fill('nowhere')
  await dialog.getByRole('button', { name: 'Start the check' }).click()
  await dialog.getByText(/has no checkpoint "nowhere"/).waitFor()
  await dialog.getByLabel('Another checkpoint').fill('')
  await dialog.getByRole('button', { name: 'Start the check' }).click()
  await dialog.getByText('Whether it stops when interrupted').waitFor()
  await dialog.getByRole('button', { name: 'Copy report' }).waitFor()
  await dialog.getByText(/It stops when interrupted/).waitFor()
  t.strictSame(await seriousFindings(page), [])
  const download = page.waitForEvent('download')
  await dialog.getByRole('button', { name: 'Download JSON' }).click()
  const report = JSON.parse(await readFile(await (await download).path(), 'utf8')) as object
  t.match(report, { outcome: 'finished', server: { alias: 'Main' } })
  await page.keyboard.press('Escape')
  await page.getByText(/distinguishes tasks/).waitFor()
  t.strictSame(violations, [])
})
