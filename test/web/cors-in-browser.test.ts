import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { chromium } from 'playwright-core'
import t from 'tap'
import { quick, startService } from '../helper.ts'
import { chromiumPath, skip } from './browser.ts'

/** The script of a page of A1111 or Forge, word for word in the browser. */
async function submitFromPage ({ api, key, secret, parameters }: {
  api: string, key: string, secret: string, parameters: object
}) {
  const headers = { 'Content-Type': 'application/json', 'X-API-Key': key, 'X-API-Secret': secret }
  const submitted = await fetch(`${api}/api/v2/generate`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ target_server_alias: 'Main', generation_params: parameters })
  })
  const { job_id: jobId } = await submitted.json() as { job_id: string }
  const status = await fetch(`${api}/api/v2/jobs/${jobId}/status`, { headers })
  const { job } = await status.json() as { job: { id: string } }
  const wrong = await fetch(`${api}/api/v2/jobs`, { headers: { ...headers, 'X-API-Secret': 'wrong' } })
  const { error } = await wrong.json() as { error: string }
  return {
    submitted: submitted.status,
    read: job.id === jobId,
    limit: submitted.headers.get('RateLimit-Limit'),
    wrong: [wrong.status, error]
  }
}

t.test('a page of http://localhost:7860 submits a job with its key, and other pages cannot', { skip }, async t => {
  const service = await startService(t)
  const { accessKey, secret } = await service.services.accessKeys.create({ name: 'page', scopes: ['jobs:read', 'jobs:write'] })
  const page = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html').end('<!doctype html><title>A1111</title>')
  }).listen(0, '127.0.0.1')
  await once(page, 'listening')
  t.teardown(() => page.close())
  const { port } = page.address() as AddressInfo
  const browser = await chromium.launch({
    executablePath: chromiumPath ?? '',
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync',
      // The page has A1111's address, whatever port this test listens on.
      `--host-resolver-rules=MAP localhost:7860 127.0.0.1:${port}, MAP elsewhere.example:80 127.0.0.1:${port}`
    ]
  })
  t.teardown(() => browser.close())

  const call = { api: service.url, key: accessKey.key, secret, parameters: quick }
  const a1111 = await browser.newPage()
  await a1111.goto('http://localhost:7860/')
  t.same(await a1111.evaluate(submitFromPage, call), {
    submitted: 202, read: true, limit: '60', wrong: [401, 'invalid_api_key']
  })

  const foreign = await browser.newPage()
  await foreign.goto('http://elsewhere.example/')
  await t.rejects(foreign.evaluate(submitFromPage, call), /Failed to fetch/)
  t.equal(await service.services.list.count({}), 1, 'the foreign page left nothing behind')
})
