import t from 'tap'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { fast, quick, startService } from '../helper.ts'

t.test('a job moves only to a server that can run it', async t => {
  const other = await startSimulator({ ...fast, checkpoints: ['dreamscape_v8.safetensors', 'realvision_v4.safetensors'] })
  t.teardown(other.close)
  const main = await startSimulator({ ...fast, checkpoints: ['dreamscape_v8.safetensors', 'realvision_v5.safetensors'] })
  t.teardown(main.close)
  const service = await startService(t, { servers: { Main: main.url, Other: other.url, Away: 'http://127.0.0.1:9' } })
  const { request } = service
  const pause = async (alias: string) => await request('POST', `/api/v1/servers/${alias}/pause`)
  const resume = async (alias: string) => await request('POST', `/api/v1/servers/${alias}/resume`)
  const submitTo = async (alias: string, checkpoint: string) =>
    await service.submit({ ...quick, checkpoint_name: checkpoint }, { target_server_alias: alias })
  const move = async (id: string, server: string) => await request('PATCH', `/api/v2/jobs/${id}`, { server, priority: 9 })
  await pause('Main')
  await pause('Other')

  await t.test('a move to a server that lacks its checkpoint is rejected, and nothing changes', async t => {
    const id = await submitTo('Main', 'realvision_v5')
    t.match(await move(id, 'Other'), {
      status: 422,
      body: {
        error: 'checkpoint_not_found',
        message: /Other cannot run the job: .*no checkpoint .*realvision/,
        details: { field: 'server', parameter: 'checkpoint_name', nearest: [/realvision_v4/] }
      }
    })
    t.match(await service.job(id), { status: 'pending', target_server_alias: 'Main', priority: 5 })
    t.match(await move(id, 'Away'), { status: 200 }, 'a server that was never reached is checked later')
    t.match(await move(id, 'Main'), { status: 200 })
    const fitting = await submitTo('Main', 'dreamscape_v8')
    t.match(await move(fitting, 'Other'), { status: 200, body: { job: { target_server_alias: 'Other' } } })
    t.match(await move(fitting, 'Other'), { status: 200 })
    await move(fitting, 'Main')
  })

  await t.test('of many jobs only the others move', async t => {
    const { body } = await request('POST', '/api/v2/jobs/actions', { action: 'move', server: 'Other', filter: { server: 'Main' } })
    t.match(body, { count: 2, done: 1, refused_count: 1, refused: [{ code: 'checkpoint_not_found', message: /Other cannot run the job/ }] })
    await request('POST', '/api/v2/jobs/actions', { action: 'move', server: 'Main', filter: { server: 'Other' } })
  })

  await t.test('a server is removed with its jobs only if the other can run all of them', async t => {
    t.match(await request('DELETE', '/api/v1/servers/Main?jobs=move&to=Other'), {
      status: 422,
      body: {
        error: 'checkpoint_not_found',
        message: /1 job of Main cannot move, so nothing was done\. The reason: Other cannot run the job: .*no checkpoint/,
        details: { field: 'to', refused_count: 1, nearest: [/realvision_v4/] }
      }
    })
    t.match((await request('GET', '/api/v1/servers/Main')).body, { enabled: true, waiting: 2 })
    await request('PUT', '/api/v1/servers/Away', { enabled: false })
    t.match(await request('DELETE', '/api/v1/servers/Main?jobs=move&to=auto'), {
      status: 422, body: { message: /1 job of Main cannot move/, details: { field: 'to', refused_count: 1 } }
    }, 'nor to any server if none can')
    await request('POST', '/api/v2/jobs/actions', { action: 'delete', all: true })
  })

  await t.test('a job of free choice whose server has lost its checkpoint goes to one that has it', async t => {
    await request('DELETE', '/api/v1/servers/Away')
    const asked = { ...quick, checkpoint_name: 'realvision_v5' }
    const free = await service.submit(asked)
    t.match(await service.job(free), { target_server_alias: 'default' })
    const bound = await service.submit(asked, { target_server_alias: 'Main' })
    const movedThere = await service.submit(asked)
    t.match(await move(movedThere, 'Main'), { status: 200 })
    const freed = await service.submit(asked, { target_server_alias: 'Main' })
    t.match(await move(freed, 'default'), { status: 200 })
    await other.restart({ checkpoints: ['dreamscape_v8.safetensors', 'realvision_v5.safetensors'] })
    await main.restart({ checkpoints: ['dreamscape_v8.safetensors'] })
    for (const [alias, name] of [['Other', 'realvision_v5'], ['Main', null]] as const) {
      const names = async () => ((await request('GET', `/api/v1/servers/${alias}/inventory`)).body
        .checkpoints as ReadonlyArray<{ name: string }>).map(checkpoint => checkpoint.name)
      do await request('POST', `/api/v1/servers/${alias}/test`)
      while (name === null ? (await names()).includes('realvision_v5') : !(await names()).includes(name))
    }
    await resume('Other')
    await resume('Main')
    t.match(await service.until(free, 'completed', 'failed'), {
      status: 'completed', target_server_alias: 'Other', attempts: []
    }, 'it was never sent to the server that lacks it')
    for (const id of [bound, movedThere]) {
      const { status, error, attempts } = await service.until(id, 'completed', 'failed')
      t.match({ status, error, attempts: attempts.length }, {
        status: 'failed', error: { code: 'checkpoint_not_found' }, attempts: 1
      }, 'a job that needs this server fails there at once')
    }
    t.match(await service.until(freed, 'completed', 'failed'), { status: 'completed', target_server_alias: 'Other' })
  })
})
