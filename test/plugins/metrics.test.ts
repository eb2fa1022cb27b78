import { readFile } from 'node:fs/promises'
import t from 'tap'
import { allQueues } from '../../queues/registry.ts'
import { createFleetMetrics } from '../../src/jobs/fleet-metrics.ts'
import { createWorkerStatus } from '../../src/main/worker.ts'
import { onNotices, quick, silentLogger, startService, type JsonBody, type Service } from '../helper.ts'
import { startReceiver } from '../webhooks/receiver.ts'
import { inRepository } from '../root.ts'

const service = await startService(t, { settings: { EGRESS_PROFILE: 'lan' } })
const scrape = async (headers: Record<string, string> = {}) => await service.request('GET', '/metrics', undefined, headers)

/** The value of one series; its labels in their order of output. */
function valueOf (text: string, series: string): number | undefined {
  const line = text.split('\n').find(candidate => candidate.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}

t.test('counters begin with 0, so that rates do not miss the first event', async t => {
  const text = String((await scrape()).body.text)
  for (const series of [
    'generations_started_total{server="Main"}', 'jobs_ended_total{server="Main",status="failed",code=""}',
    'generation_failures_total{server="Main",class="out-of-memory",code=""}', 'job_wait_seconds_count{server="Main"}',
    'webhook_attempt_duration_seconds_count{outcome="failed"}'
  ]) t.equal(valueOf(text, `stablequeue_${series}`), 0, series)
  t.match(text, /^stablequeue_build_info\{version="\d+\.\d+\.\d+",node="\d+\.\d+\.\d+"\} 1$/m)
})

t.test('events of jobs, servers, deliveries and requests are counted', async t => {
  const receiver = await startReceiver(t, [service.services.webhooks.signingKeys.ownSecret])
  const done = await service.submit(quick, { webhookUrl: receiver.url })
  await service.until(done, 'completed')
  await receiver.until(1)
  service.simulator.setFaults([{ kind: 'truncated-json', times: 1 }])
  const failing = await service.submit(quick)
  await service.until(failing, 'completed', 'failed')

  const text = String((await scrape()).body.text)
  t.equal(valueOf(text, 'stablequeue_jobs{server="Main",status="completed"}'), 2)
  t.equal(valueOf(text, 'stablequeue_jobs{server="Main",status="pending"}'), 0)
  t.equal(valueOf(text, 'stablequeue_server_up{server="Main"}'), 1)
  t.equal(valueOf(text, 'stablequeue_server_attended{server="Main"}'), 1)
  t.equal(valueOf(text, 'stablequeue_server_paused{server="Main"}'), 0)
  t.equal(valueOf(text, 'stablequeue_jobs_ended_total{server="Main",status="completed",code=""}'), 2)
  t.equal(valueOf(text, 'stablequeue_generations_started_total{server="Main"}'), 3)
  t.match(text, /stablequeue_generation_failures_total\{server="Main",class="passing",code="\w+"\} 1/)
  t.equal(valueOf(text, 'stablequeue_job_wait_seconds_count{server="Main"}'), 2, 'a second attempt is not a second wait')
  t.equal(valueOf(text, 'stablequeue_generation_duration_seconds_count{server="Main"}'), 2)
  t.equal(valueOf(text, 'stablequeue_webhook_attempt_duration_seconds_count{outcome="delivered"}'), 1)
  t.match(text, /stablequeue_http_request_duration_seconds_count\{method="GET",route="\/api\/v2\/jobs\/:jobId",status="200"\} \d/)
  t.equal(valueOf(text, 'stablequeue_queue_entries{queue="Webhooks",state="failed"}'), 0)
  t.equal(valueOf(text, 'stablequeue_redis_up'), 1)
  t.ok(Number(valueOf(text, 'stablequeue_redis_memory_bytes')) > 100_000)
  t.ok(Number(valueOf(text, 'process_resident_memory_bytes')) > 1_000_000)
  t.notMatch(text, done, 'no job has a series of its own')
})

t.test('a paused or absent server is reported as such', async t => {
  await service.request('POST', '/api/v1/servers', { alias: 'Gone', apiUrl: 'http://127.0.0.1:9' })
  await service.request('POST', '/api/v1/servers/Gone/pause')
  const before = String((await scrape()).body.text)
  t.equal(valueOf(before, 'stablequeue_server_up{server="Gone"}'), 0)
  t.equal(valueOf(before, 'stablequeue_server_paused{server="Gone"}'), 1)
  await service.request('DELETE', '/api/v1/servers/Gone')
  t.notMatch(String((await scrape()).body.text), /server="Gone"/)
})

t.test('reading needs its right', async t => {
  const named = async (name: string, scopes: Parameters<typeof service.services.accessKeys.create>[0]['scopes']) => {
    const { accessKey, secret } = await service.services.accessKeys.create({ name, ...(scopes ? { scopes } : {}) })
    return { authorization: `Bearer ${Buffer.from(`${accessKey.key}:${secret}`).toString('base64')}` }
  }
  t.equal((await scrape(await named('usual', undefined))).status, 403)
  const answer = await scrape(await named('prometheus', ['metrics:read']))
  t.equal(answer.status, 200)
  t.match(answer.headers.get('content-type'), 'text/plain')
})

t.test('the dashboard for Grafana and the alert rules use existing series', async t => {
  const text = String((await scrape()).body.text)
  for (const file of ['grafana-dashboard.json', 'alerts.yml']) {
    const rules = await readFile(inRepository('docs/operating', file), 'utf8')
    const asked = rules.match(/\b(stablequeue|nodejs|process)_[a-z0-9_]+\b/g) ?? []
    const names = [...new Set(asked.map(name => name.replace(/_(bucket|count|sum)$/, '')))]
    t.ok(names.length > 5)
    for (const name of names) t.ok(text.includes(`# TYPE ${name} `), `${file}: ${name}`)
  }
})

t.test('without Redis it still answers, and says so', async t => {
  const { keys, registry, states, estimates } = service.services
  const redis = service.services.redis.duplicate({ lazyConnect: true, enableOfflineQueue: false })
  const { text } = createFleetMetrics({
    redis, keys, registry, states, estimates, queues: () => allQueues(service.services), targetWaitSeconds: 60
  })
  t.equal(valueOf(await text(), 'stablequeue_redis_up'), 0)
  redis.disconnect()
})

t.test('a process with only workers serves its metrics on a port of its own', async t => {
  const status = createWorkerStatus(service.services, silentLogger)
  t.teardown(async () => await status.close())
  t.same((await status.inject('/health')).json(), { status: 'healthy' })
  t.match((await status.inject('/metrics')).body, /stablequeue_generations_started_total\{server="Main"\} 3/)
})

t.test('the dashboard shows every queue, also of servers that come later', async t => {
  await service.request('POST', '/api/v1/servers', { alias: 'Later', apiUrl: service.simulator.url })
  const names = await onNotices(service.services, async () => {
    const { body } = await service.request('GET', '/dashboard/api/queues?activeQueue=&page=1&jobsPerPage=10')
    const queues = body.queues as Array<{ displayName?: string, name: string }>
    const found = queues.map(({ displayName, name }) => displayName ?? name)
    return found.includes('Later') ? found : undefined
  })
  t.same(names.toSorted(), ['Downloads', 'Later', 'Main', 'Maintenance', 'Waiting', 'Webhooks'])
})

t.test('the dashboard is read-only by default; otherwise only its own page can use its buttons', async t => {
  const press = async (one: Service, origin: string) => await one.request('PUT',
    '/dashboard/api/queues/maintenance/pause', undefined, { origin, 'sec-fetch-site': 'same-origin' })
  t.equal((await press(service, service.url)).status, 405, 'read only, as it is without a setting')
  const changing = await startService(t, { settings: { DASHBOARD_READ_ONLY: 'false' } })
  t.match(await press(changing, 'http://localhost:7860'), { status: 403, body: { error: /another origin/ } })
  t.equal((await press(changing, changing.url)).status, 200)
  const { body } = await changing.request('GET', '/dashboard/api/queues')
  t.match((body.queues as JsonBody[]).find(({ name }) => name === 'maintenance'), { isPaused: true })

  const page = await fetch(`${changing.url}/dashboard`)
  t.notMatch(await page.text(), /googleapis/, 'nothing is fetched from elsewhere')
  t.match(page.headers.get('content-security-policy'), /default-src 'none'/)
})
