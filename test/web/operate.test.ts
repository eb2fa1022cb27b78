import t from 'tap'
import { quick, startService } from '../helper.ts'
import { startReceiver } from '../webhooks/receiver.ts'
import { seriousFindings } from './axe.ts'
import { openBrowser, skip } from './browser.ts'

const hostile = '"><img src=x onerror=window.hit=1><script>window.hit=1</script><svg onload=window.hit=1>'

t.test('operators manage webhooks and settings', { skip }, async t => {
  const visit = await openBrowser(t)
  const secrets: string[] = []
  const receiver = await startReceiver(t, secrets)
  const service = await startService(t, {
    settings: {
      EGRESS_PROFILE: 'lan', EGRESS_ALLOW: `127.0.0.1:${receiver.port}`, WEBHOOK_RETRY_SCHEDULE: '1s', CIVITAI_API_KEY: 'a-secret-of-mine'
    }
  })
  secrets.push(service.services.webhooks.signingKeys.ownSecret)
  const open = async (hash: string) => await visit(`${service.url}/#/${hash}`)
  const submit = async () => {
    const id = await service.submit(quick, { webhookUrl: `${receiver.url}/hook?${encodeURIComponent(hostile)}` })
    await service.until(id, 'completed')
  }

  t.test('a delivery shows its log and is sent again, as are all failed ones', async t => {
    const { page, violations } = await open('webhooks')
    await page.getByText('No deliveries yet').waitFor()
    await submit()
    await page.locator('.delivery', { hasText: 'Delivered' }).waitFor()
    receiver.respond((_request, response) => { response.writeHead(500).end(hostile) })
    await submit()
    await page.locator('.delivery', { hasText: 'Failed' }).waitFor()
    t.strictSame(await seriousFindings(page), [])

    await page.locator('.delivery', { hasText: 'Failed' }).getByRole('button', { name: /^Log of/ }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByText(hostile).first().waitFor()
    await dialog.getByText('Body', { exact: true }).click()
    t.equal(await page.evaluate('window.hit'), undefined)
    t.equal(await page.locator('img[src=x], [onload], [onerror]').count(), 0)
    t.strictSame(await seriousFindings(page), [])
    await page.keyboard.press('Escape')

    await page.getByRole('button', { name: 'Failed', exact: true }).click()
    await page.locator('.delivery', { hasText: 'Delivered' }).waitFor({ state: 'detached' })
    receiver.respond((_request, response) => { response.writeHead(204).end() })
    await page.getByRole('button', { name: 'Send failed again' }).click()
    await page.getByRole('button', { name: 'Send again', exact: true }).click()
    await page.getByRole('status').getByText('1 event is sent again').waitFor()
    await page.getByText('No delivery matches these filters').waitFor()
    await page.getByRole('button', { name: 'Delivered', exact: true }).click()
    await page.locator('.delivery').nth(1).waitFor()
    const before = receiver.requests.length
    await page.locator('.delivery').first().getByRole('button', { name: /again$/ }).click()
    await receiver.until(before + 1)
    t.strictSame(violations, [])
  })

  t.test('an address is tested, an endpoint inspected, a secret shown', async t => {
    const { page, violations } = await open('webhooks/endpoints')
    await page.locator('.card', { hasText: `127.0.0.1:${receiver.port}` }).getByText('Works').waitFor()
    t.strictSame(await seriousFindings(page), [])
    await page.getByRole('button', { name: /^Test http/ }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByRole('button', { name: 'Send a test' }).click()
    await dialog.getByText('Delivered').waitFor()
    await dialog.getByRole('textbox', { name: 'Address' }).fill('http://127.0.0.1:9/')
    await dialog.getByRole('button', { name: 'Send a test' }).click()
    await dialog.locator('.status', { hasText: 'Failed' }).waitFor()
    await dialog.getByRole('textbox', { name: 'Address' }).fill('ftp://example.org')
    await dialog.getByRole('button', { name: 'Send a test' }).click()
    await dialog.locator('[name=webhook_url][aria-invalid=true]').waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('link', { name: 'Secrets' }).click()
    await page.getByRole('button', { name: 'Show the secret' }).click()
    await page.getByText(/^whsec_/).waitFor()
    await page.getByRole('button', { name: 'Hide it' }).click()
    t.notMatch(await page.content(), /whsec_[A-Za-z0-9]/)
    t.strictSame(await seriousFindings(page), [])
    t.strictSame(violations, [])
  })

  t.test('settings show their source; the queue is switched; old jobs are deleted', async t => {
    const { page, violations } = await open('settings')
    await page.getByRole('heading', { name: 'Current settings' }).waitFor()
    t.strictSame(await seriousFindings(page), [])
    await page.getByLabel('Search settings').fill('civitai_api')
    await page.getByText('set, not shown').waitFor()
    t.notMatch(await page.content(), 'a-secret-of-mine')
    await page.getByLabel('Search settings').fill('')
    await page.getByLabel('Only changed ones').check()
    await page.locator('.settings-rows li', { hasText: 'EGRESS_PROFILE' }).getByText('environment').waitFor()

    await page.getByRole('button', { name: 'Switch the queue off' }).click()
    await page.getByRole('button', { name: 'Switch the queue on' }).waitFor()
    t.match((await service.request('GET', '/api/v1/settings')).body.settings, { queueProcessingEnabled: false })
    await page.getByRole('button', { name: 'Switch the queue on' }).click()
    await page.getByRole('button', { name: 'Switch the queue off' }).waitFor()

    const total = Number((await service.request('GET', '/api/v2/jobs')).body.total)
    await page.getByLabel('Days to keep').fill('-3')
    await page.getByRole('button', { name: 'Save' }).click()
    await page.locator('[name=retention_days][aria-invalid=true]').waitFor()
    await page.getByLabel('Days to keep').fill('0')
    await page.getByLabel('Jobs to keep').fill('1')
    await page.getByText(new RegExp(`^${total - 1} jobs? with .* would be deleted`)).waitFor()
    t.equal(Number((await service.request('GET', '/api/v2/jobs')).body.total), total)
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByRole('button', { name: 'Purge now' }).click()
    await page.getByRole('dialog').getByRole('button', { name: /^Remove/ }).click()
    await page.getByText('Nothing can be deleted now').waitFor()
    t.equal((await service.request('GET', '/api/v2/jobs')).body.total, 1)
    t.strictSame(violations, [])
  })
})
