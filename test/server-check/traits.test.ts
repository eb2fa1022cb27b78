import t from 'tap'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ServerCheckView } from '../../schemas/server-check.ts'
import { quick, startService, type Service } from '../helper.ts'

const path = '/api/v2/servers/Main/check'

/** The report of a check, once that is over. */
async function check (service: Service, requestedOptions: object = {}) {
  await service.request('POST', path, requestedOptions)
  for (;;) {
    const { check: present, report } = (await service.request('GET', path)).body as unknown as ServerCheckView
    if (present?.state === 'ended' && report !== null) return report
    await sleep(10)
  }
}

const simulator = { stepMilliseconds: 5, loadMilliseconds: 0, checkpoints: ['one.safetensors', 'two.safetensors'] }

t.test('if settings are not restored, the next job also sends those that the one before changed', async t => {
  const service = await startService(t, { simulator })
  service.simulator.setRestores('none')
  t.match(await check(service), { traits: { restores_overrides: 'none' } })
  await service.request('POST', '/api/v1/servers/Main/pause')
  const checkpoint = { sd_model_checkpoint: 'one.safetensors' }
  const changing = await service.submit({ ...quick, override_settings: { ...checkpoint, CLIP_stop_at_last_layers: 2 } })
  const plain = await service.submit({ ...quick, override_settings: checkpoint })
  await service.request('POST', '/api/v1/servers/Main/resume')
  t.match(await service.until(plain, 'completed', 'failed'), { status: 'completed', warnings: [] })
  const { generations } = service.simulator.state()
  t.strictSame([changing, plain].map(id => generations.find(({ taskId }) => taskId === id)?.marks),
    [{ 'Clip skip': 2 }, {}])
})

t.test('a check that saw its settings restored reports nothing about others', async t => {
  const service = await startService(t, { simulator })
  t.match(await check(service), { traits: { restores_overrides: 'saved' } })
  t.match(await check(service), { traits: { restores_overrides: 'saved' } })
  const id = await service.submit({ ...quick, override_settings: { face_restoration: true } })
  t.equal((await service.until(id, 'completed', 'failed')).status, 'completed')
  t.equal(service.simulator.options().all.face_restoration, false)
})

t.test('a time limit that the check found prevents jobs from being sent twice', async t => {
  const service = await startService(t, { simulator })
  // The short generations of a check end within this time on a busy machine too.
  const afterMilliseconds = 2000
  service.simulator.setFaults([{ kind: 'gateway-timeout', sticky: true, prompt: 'grey', afterMilliseconds }])
  const { traits } = await check(service, { minutes: 0.1 })
  t.ok(Number(traits.time_limit_seconds) >= 1.9, String(traits.time_limit_seconds))
  service.simulator.setFaults([{ kind: 'gateway-timeout', sticky: true, afterMilliseconds }])
  const id = await service.submit({ ...quick, steps: 150, n_iter: 3 })
  t.match(await service.until(id, 'completed', 'failed'), { status: 'failed', error: { code: 'bad_gateway', message: /gives up after/ } })
  t.equal(service.simulator.state().generations.filter(({ taskId }) => taskId === id).length, 1)
})
