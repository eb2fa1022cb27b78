import t from 'tap'
import { quick, startService } from '../helper.ts'
import { openBrowser, skip } from './browser.ts'

t.test('the first page of a visitor needs few requests and bytes', { skip }, async t => {
  const visit = await openBrowser(t)
  const service = await startService(t, { worker: 'none' })
  for (let index = 0; index < 40; index++) await service.submit({ ...quick, prompt: `a lighthouse, number ${index}` })
  const { page, violations } = await visit('about:blank')
  const devtools = await page.context().newCDPSession(page)
  const paths = new Map<string, string>()
  const encodings = new Map<string, string>()
  let bytes = 0
  devtools.on('Network.requestWillBeSent', ({ requestId, request }) => paths.set(requestId, new URL(request.url).pathname))
  devtools.on('Network.responseReceived', ({ requestId, response }) =>
    encodings.set(paths.get(requestId) ?? '', response.headers['content-encoding'] ?? ''))
  devtools.on('Network.dataReceived', ({ encodedDataLength }) => { bytes += encodedDataLength })
  devtools.on('Network.loadingFinished', ({ encodedDataLength }) => { bytes += encodedDataLength })
  await devtools.send('Network.enable')
  await page.goto(service.url)
  await page.locator('.job').nth(4).waitFor()
  await page.getByRole('list', { name: 'Servers' }).waitFor()
  await page.waitForLoadState('load')
  const seen = [...paths.values()]
  t.ok(seen.length <= 10, `${seen.length} requests: ${seen.join(' ')}`)
  t.ok(bytes <= 110_000, `${bytes} bytes`)
  t.equal(encodings.get('/'), 'br')
  t.notOk(seen.some(path => /create|gallery|models|servers-|keys|dialog/.test(path)), 'other pages come when they are visited')
  t.strictSame(violations, [])
})

t.test('JSON of the API is compressed where the client accepts it, if it is long', async t => {
  const { url, request, submit } = await startService(t, { worker: 'none' })
  const { id } = { id: await submit(quick) }
  const ask = async (path: string, accepted: string) => {
    const answer = await fetch(url + path, { headers: { 'accept-encoding': accepted } })
    return { encoding: answer.headers.get('content-encoding'), vary: answer.headers.get('vary'), body: await answer.text() }
  }
  for (let index = 0; index < 10; index++) await submit(quick)
  const list = '/api/v2/jobs?status=pending&order=asc&limit=1000'
  const read = ({ body }: { body: string }) =>
    (JSON.parse(body) as { jobs: Array<{ id: string }> }).jobs.map(job => job.id)
  const plain = await ask(list, 'identity')
  t.match(plain, { encoding: null, vary: /accept-encoding/i })
  for (const [accepted, encoding] of [
    ['gzip', 'gzip'], ['br', 'br'], ['gzip, deflate, br', 'br'], ['gzip;q=1, br;q=0', 'gzip'], ['zstd', null], ['*;q=0', null]
  ] as const) {
    const answer = await ask(list, accepted)
    t.equal(answer.encoding, encoding, accepted)
    t.strictSame(read(answer), read(plain), accepted)
  }
  t.equal((await ask(`/api/v2/jobs?limit=1&view=short&search=${id}`, 'br')).encoding, null, 'short answers are not worth it')
  t.equal((await request('GET', `/api/v2/jobs/${id}`)).status, 200)
})
