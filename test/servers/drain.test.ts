import t from 'tap'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { fast, onNotices, quick, startService } from '../helper.ts'

t.test('a server that is drained', async t => {
  const main = await startSimulator({ ...fast, checkpoints: ['dreamscape_v8.safetensors', 'realvision_v5.safetensors'] })
  t.teardown(main.close)
  const other = await startSimulator({ ...fast, checkpoints: ['dreamscape_v8.safetensors'] })
  t.teardown(other.close)
  const service = await startService(t, { servers: { Main: main.url, Other: other.url } })
  const { request, services } = service
  const change = async (method: string, body: object) => await request(method, '/api/v1/servers/Main', body)
  const look = async () => (await request('GET', '/api/v1/servers/Main')).body
  const submitTo = async (alias: string, more: object = {}) =>
    await service.submit({ ...quick, ...more }, { target_server_alias: alias })
  const eventsOf = async (kind: string) => (await services.redis.xrange(services.keys.key('events'), '-', '+'))
    .filter(([, fields]) => fields.includes(kind)).length
  const untilDrained = async () => await onNotices(services, async () => await eventsOf('server-drained') > 0 ? true : undefined)

  main.setFaults([{ kind: 'hang' }])
  const running = await submitTo('Main')
  await service.until(running, 'processing')
  await request('POST', '/api/v1/servers/Other/pause')
  await request('POST', '/api/v1/servers/Main/pause')
  const bound = await submitTo('Main')
  // Only Main has its checkpoint.
  const needy = await submitTo('default', { checkpoint_name: 'realvision_v5' })
  const free = await submitTo('default')
  await request('POST', '/api/v1/servers/Main/resume')
  await request('POST', '/api/v1/servers/Other/resume')

  await t.test('finishes what runs, begins nothing more and says when it is empty', async t => {
    t.match(await look(), { draining: false, drained: false, paused: false })
    t.match(await change('PATCH', { draining: true }), {
      status: 200, body: { server: { draining: true, drained: false, paused: true, pause_reason: /being drained/, paused_at: String, processing: 1 } }
    })
    t.match((await service.until(free, 'completed', 'failed')), { status: 'completed', target_server_alias: 'Other' },
      'a waiting job that names no server goes elsewhere')
    t.equal(await eventsOf('server-drained'), 0)
    main.setFaults([])
    t.equal((await service.until(running, 'completed', 'failed')).status, 'completed')
    await untilDrained()
    t.match(await look(), { draining: true, drained: true, processing: 0, waiting: 1 })
    t.match([await service.job(bound), await service.job(needy)], [{ status: 'pending' }, { status: 'pending' }])
    t.match((await service.job(bound)).eta_seconds, null)
  })

  await t.test('gets no new job that can run elsewhere, and keeps those that name it', async t => {
    t.equal((await service.until(await submitTo('default'), 'completed')).target_server_alias, 'Other')
    for (const [target, more] of [['Main', {}], ['default', { checkpoint_name: 'realvision_v5' }]] as const) {
      const { status, body } = await request('POST', '/api/v2/generate', { target_server_alias: target, generation_params: { ...quick, ...more } })
      t.match([status, body], [202, { target_server_alias: target, warnings: [{ code: 'server_draining', message: /Main is being drained/ }] }])
      t.equal((await request('POST', `/api/v2/jobs/${String(body.job_id)}/cancel`)).status, 200)
    }
    t.match((await request('GET', '/metrics')).body.text, /stablequeue_server_draining\{server="Main"\} 1/)
  })

  await t.test('stays so until it is undone, and says each time when it is empty', async t => {
    await services.registry.refresh()
    t.equal(services.registry.require('Main').draining, true)
    t.match(await change('PUT', { description: 'Big' }), { body: { server: { draining: true } } })
    t.match(await change('PATCH', { draining: 'yes' }), { status: 400, body: { details: { field: 'draining' } } })
    t.match(await change('PUT', { draining: false }), { body: { server: { draining: false, drained: false, paused: false, pause_reason: null } } })
    t.match([await service.until(bound, 'completed', 'failed'), await service.until(needy, 'completed', 'failed')],
      [{ status: 'completed' }, { status: 'completed' }])
    t.equal(await eventsOf('server-drained'), 1)
    t.match(await request('POST', '/api/v1/servers/Main/drain'), { body: { message: /takes no more jobs/, server: { draining: true } } })
    await onNotices(services, async () => await eventsOf('server-drained') === 2 ? true : undefined)
    t.equal(await eventsOf('server-draining'), 2)
    t.match(await request('POST', '/api/v1/servers/Main/resume'), { body: { server: { draining: false } } })
    t.equal((await service.until(await submitTo('Main'), 'completed', 'failed')).status, 'completed')
  })

  await t.test('is removed without losing a job', async t => {
    await change('PATCH', { draining: true })
    const last = await submitTo('Main')
    t.match(await request('DELETE', '/api/v1/servers/Main'), { status: 409, body: { error: 'server_has_jobs' } })
    t.equal((await request('DELETE', '/api/v1/servers/Main?jobs=move&to=Other')).status, 200)
    t.match(await service.until(last, 'completed', 'failed'), { status: 'completed', target_server_alias: 'Other' })
    t.equal(await services.redis.keys(services.keys.key('server', '*', 'drained')).then(found => found.length), 0)
  })
})
