import sharp from 'sharp'
import t from 'tap'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { onNotices, quick, startService } from '../helper.ts'

t.test('a different model gives a warning, or fails a job that accepts no difference', async t => {
  const service = await startService(t, { simulator: { checkpoints: ['one.safetensors', 'two.safetensors'] } })
  service.simulator.setFaults([{ kind: 'wrong-checkpoint', sticky: true }])
  const parameters = { ...quick, checkpoint_name: 'two' }
  const warned = await service.until(await service.submit(parameters), 'completed', 'failed')
  t.equal(warned.status, 'completed')
  t.match(warned.warnings, [{ code: 'different_checkpoint' }])
  const strict = await service.until(await service.submit(parameters, { on_difference: 'fail' }), 'completed', 'failed')
  t.match(strict, { status: 'failed', error: { code: 'different_result', message: /one/ } })
  t.equal(strict.images.length, 1, 'what came is kept all the same')
})

t.test('a generation without progress is aborted, and sent again once the server makes progress', async t => {
  const service = await startService(t, { settings: { STALL_SECONDS: '1' } })
  service.simulator.setFaults([{ kind: 'hang', sticky: true }])
  const id = await service.submit(quick)
  await onNotices(service.services, async () => (await service.job(id)).attempts.length > 0 ? true : undefined)
  service.simulator.setFaults([])
  const job = await service.until(id, 'failed', 'completed')
  t.match(job, { status: 'completed', attempts: [{ code: 'stalled' }] })
})

t.test('a job without a target that is too big for one server goes to another', async t => {
  const large = await startSimulator({ stepMilliseconds: 1, loadMilliseconds: 0 })
  t.teardown(large.close)
  const service = await startService(t)
  service.simulator.setFaults([{ kind: 'out-of-memory', sticky: true }])
  const named = await service.submit(quick, { target_server_alias: 'Main' })
  const failed = await service.until(named, 'failed', 'completed')
  t.match(failed, { status: 'failed', error: { code: 'out_of_memory', message: /Try/ } })

  const added = await service.request('POST', '/api/v1/servers', { alias: 'Large', apiUrl: large.url })
  t.equal(added.status, 201)
  await service.request('POST', '/api/v1/servers/Large/test')
  await service.request('POST', '/api/v1/servers/Large/pause')
  const free = await service.submit(quick)
  await onNotices(service.services, async () => (await service.job(free)).attempts.length > 0 || undefined)
  t.equal((await service.job(free)).attempts[0]?.server, 'Main', 'the paused server is not chosen')
  await service.request('POST', '/api/v1/servers/Large/resume')
  const done = await service.until(free, 'failed', 'completed')
  t.match(done, { status: 'completed', target_server_alias: 'Large' })
  t.ok(done.attempts.length <= 2 && done.attempts.every(attempt => attempt.server === 'Main'), 'it failed only there')
})

t.test('an extension that failed silently gives a warning, or fails a job that accepts no difference', async t => {
  const service = await startService(t)
  service.simulator.setFaults([{ kind: 'script-error', sticky: true }])
  const image = (await sharp({ create: { width: 64, height: 64, channels: 3, background: 'red' } }).png().toBuffer()).toString('base64')
  const parameters = {
    ...quick,
    prompt: 'left ADDCOL right',
    alwayson_scripts: {
      controlnet: { args: [{ module: 'canny', model: 'control_v11p_sd15_canny', image }] },
      'Regional Prompter': { args: [true, false, 'Matrix', 'Columns', 'Mask', 'Prompt', '1,1'] }
    }
  }
  const warned = await service.until(await service.submit(parameters), 'completed', 'failed')
  t.equal(warned.status, 'completed')
  t.match(warned.warnings, [
    { code: 'control_not_applied', message: /0 of 1 control maps/ }, { code: 'regions_not_applied' }
  ])
  const strict = await service.until(await service.submit(parameters, { on_difference: 'fail' }), 'completed', 'failed')
  t.match(strict, { status: 'failed', error: { code: 'different_result', message: /ControlNet/ } })
  service.simulator.setFaults([])
  const done = await service.until(await service.submit(parameters, { on_difference: 'fail' }), 'completed', 'failed')
  t.match(done, { status: 'completed', images: [{ role: 'image' }, { role: 'extra' }] })
})

t.test('a success is verified', async t => {
  const service = await startService(t, { simulator: { scripts: ['ADetailer'] } })
  const { simulator } = service

  async function outcomes (parameters: object) {
    const warned = await service.until(await service.submit({ ...quick, ...parameters }), 'completed', 'failed')
    const strict = await service.until(
      await service.submit({ ...quick, ...parameters }, { on_difference: 'fail' }), 'completed', 'failed')
    return { warned, strict }
  }

  await t.test('a different size gives a warning, or fails a job that accepts no difference', async t => {
    const sizes: Array<[parameters: object, size: RegExp]> = [
      [{ width: 128, height: 64 }, /64x32, not 128x64/],
      [{ enable_hr: true, hr_scale: 1.55, denoising_strength: 0.5 }, /64x64, not 96x96; its hires fix/],
      [{ enable_hr: true, hr_resize_x: 160, denoising_strength: 0.5 }, /64x64, not 160x160/]
    ]
    for (const [parameters, message] of sizes) {
      simulator.setFaults([])
      const right = await service.until(await service.submit({ ...quick, ...parameters }), 'completed', 'failed')
      t.match(right, { status: 'completed', warnings: [] })
      simulator.setFaults([{ kind: 'wrong-size', sticky: true }])
      const { warned, strict } = await outcomes(parameters)
      t.match(warned, { status: 'completed', warnings: [{ code: 'different_size', message }] })
      t.match(strict, { status: 'failed', error: { code: 'different_result', message } })
    }
  })

  await t.test('a script without an effect gives a warning, or fails a job that accepts no difference', async t => {
    const detailed = (...args: unknown[]) => ({ alwayson_scripts: { ADetailer: { args } } })
    const face = { ad_model: 'face_yolov8n.pt' }
    simulator.setFaults([])
    for (const args of [[true, false, face], [face], [false, false, face], [true, false, { ad_model: 'None' }]]) {
      const job = await service.until(await service.submit({ ...quick, ...detailed(...args) }), 'completed', 'failed')
      t.match(job, { status: 'completed', warnings: [] }, JSON.stringify(args))
    }
    simulator.setFaults([{ kind: 'script-error', sticky: true }])
    for (const args of [[true, false, face], [face]]) {
      const { warned, strict } = await outcomes(detailed(...args))
      t.match(warned, { status: 'completed', warnings: [{ code: 'script_not_applied', message: /ADetailer/ }] })
      t.match(strict, { status: 'failed', error: { code: 'different_result', message: /ADetailer/ } })
    }
    const off = await service.until(await service.submit({ ...quick, ...detailed(false, false, face) }), 'completed')
    t.match(off, { warnings: [] }, 'nothing is missed of a script that is off')
  })

  await t.test('an info with numbers that JSON does not have is still read', async t => {
    simulator.setFaults([{ kind: 'bare-nan', sticky: true }])
    const job = await service.until(await service.submit({ ...quick, seed: 7 }), 'completed', 'failed')
    t.match(job, { status: 'completed', warnings: [], images: [{ seed: 7 }] })
    t.match(job.result_details, { generation_info: { seed: 7, loss: null, range: [null, null] } })
  })

  await t.test('a script can return its own number of images', async t => {
    simulator.setFaults([])
    const matrix = { prompt: 'a lighthouse|at dusk', script_name: 'prompt matrix', script_args: [false, false, 'positive', 'comma', 0] }
    const job = await service.until(await service.submit({ ...quick, ...matrix }, { on_difference: 'fail' }), 'completed', 'failed')
    t.match(job, { status: 'completed', warnings: [], images: [{ role: 'grid' }, { role: 'image' }, { role: 'image' }] })
    simulator.setFaults([{ kind: 'wrong-image-count', count: 1 }])
    const grid = await service.until(await service.submit({ ...quick, ...matrix }, { on_difference: 'fail' }), 'completed', 'failed')
    t.match(grid, { status: 'completed', warnings: [], images: [{ role: 'grid' }] }, 'a grid alone is what was asked for')
  })
})
