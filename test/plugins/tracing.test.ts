import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'
import t from 'tap'
import { quick, startService } from '../helper.ts'
import { listen, startReceiver } from '../webhooks/receiver.ts'

/** The tested fields of a span in OTLP's JSON. */
interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
}

interface Export { readonly resourceSpans: ReadonlyArray<{ readonly scopeSpans: ReadonlyArray<{ spans: Span[] }> }> }

t.test('one trace covers the request, the generation and the webhook, and continues its client\'s', async t => {
  const spans: Span[] = []
  const asked: string[] = []
  const last = 'webhook job.completed'
  let complete = (): void => {}
  const completed = new Promise<void>(resolve => { complete = resolve })
  const collector = createServer((request, response) => {
    asked.push(`${request.url} ${request.headers['x-tenant']}`)
    json(request).then(body => {
      for (const { scopeSpans } of (body as Export).resourceSpans) {
        for (const scope of scopeSpans) spans.push(...scope.spans)
      }
      if (spans.some(({ name }) => name === last)) complete()
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    }).catch(() => { response.destroy() })
  })
  const port = await listen(t, collector)
  const service = await startService(t, {
    settings: {
      EGRESS_PROFILE: 'lan',
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=home'
    }
  })
  const receiver = await startReceiver(t, [service.services.webhooks.signingKeys.ownSecret])
  const traceId = '0af7651916cd43dd8448eb211c80319c'
  const answer = await service.request('POST', '/api/v2/generate', {
    target_server_alias: 'Main', generation_params: quick, webhookUrl: receiver.url
  }, { traceparent: `00-${traceId}-b7ad6b7169203331-01` })
  t.equal(answer.status, 202)
  const [delivered] = await receiver.until(1)
  t.match(delivered?.headers.traceparent, new RegExp(`^00-${traceId}-`), 'the receiver may join')
  await completed

  const ours = spans.filter(span => span.traceId === traceId)
  const named = (name: string) => ours.find(span => span.name === name)
  const names = ['POST /api/v2/generate', 'wait in line', 'generation', 'POST /sdapi/v1/txt2img', last]
  t.same(names.filter(name => named(name) === undefined), [])
  const request = named('POST /api/v2/generate')
  t.equal(request?.parentSpanId, 'b7ad6b7169203331')
  for (const name of ['wait in line', 'generation', last]) {
    t.equal(named(name)?.parentSpanId, request?.spanId, name)
  }
  t.equal(named('POST /sdapi/v1/txt2img')?.parentSpanId, named('generation')?.spanId)
  t.ok(asked.every(call => call === '/v1/traces home'))
})

t.test('without a collector there are no traces, and no request carries one', async t => {
  const service = await startService(t, { settings: { EGRESS_PROFILE: 'lan' } })
  const receiver = await startReceiver(t, [service.services.webhooks.signingKeys.ownSecret])
  const id = await service.submit(quick, { webhookUrl: receiver.url })
  const [delivered] = await receiver.until(1)
  t.equal(delivered?.headers.traceparent, undefined)
  t.equal((await service.services.store.get(id)).submission.trace, undefined)
})
