import t from 'tap'
import { quick, startService } from '../helper.ts'

t.test('before a name is rejected, its list is read from the server again', async t => {
  const service = await startService(t, {
    simulator: { loras: ['old'], checkpoints: ['one.safetensors'], scripts: ['Comments'] }
  })
  const { simulator } = service
  const count = () => simulator.state().requests['GET /sdapi/v1/loras'] ?? 0
  const ask = async (parameters: object) => await service.request('POST', '/api/v2/generate', {
    target_server_alias: 'Main', generation_params: { ...quick, ...parameters }
  })

  await t.test('so that a LoRA or checkpoint that was added a moment ago is accepted', async t => {
    await fetch(`${simulator.url}/simulator/loras`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"loras":["old","new-one"]}'
    })
    const accepted = await ask({ prompt: 'a lighthouse <lora:new-one:0.5>' })
    t.equal(accepted.status, 202, JSON.stringify(accepted.body))
    const job = await service.until(String(accepted.body.job_id), 'completed', 'failed')
    t.match(job, { status: 'completed', warnings: [] })

    await fetch(`${simulator.url}/simulator/checkpoints`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"checkpoints":["one.safetensors","two.safetensors"]}'
    })
    const other = await ask({ checkpoint_name: 'two' })
    t.equal(other.status, 202, JSON.stringify(other.body))
    t.match(await service.until(String(other.body.job_id), 'completed', 'failed'), { status: 'completed', warnings: [] })
    await fetch(`${simulator.url}/simulator/loras`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"loras":["old","new-one","for-bots"]}'
    })
    const askAsBot = async () => await service.request('POST', '/generate/txt2img', {
      user_id: 'ann', ...quick, loras: [{ name: 'for-bots', weight: 0.5 }]
    })
    let bot = await askAsBot()
    // the list was just read, and is read again within two seconds
    for (let tries = 0; bot.status === 422 && tries < 100; tries++) {
      await new Promise(resolve => { setTimeout(resolve, 50) })
      bot = await askAsBot()
    }
    t.equal(bot.status, 200, JSON.stringify(bot.body))
    const { body } = await service.request('GET', '/api/v1/servers/Main/inventory')
    t.match(JSON.stringify(body), /new-one/, 'the inventory of all knows it')
  })

  await t.test('and many bad names do not cause more requests', async t => {
    const before = count()
    const answers = await Promise.all(Array.from({ length: 20 }, async () => await ask({ prompt: '<lora:nowhere:1>' })))
    t.ok(answers.every(({ status, body }) => status === 422 && body.error === 'model_not_found'))
    t.ok(count() - before <= 3, `${count() - before} readings`)
  })

  await t.test('and a name behind # is missing if the server hides comments', async t => {
    const accepted = await ask({ prompt: 'a lighthouse # <lora:nowhere:1>\n<lora:old:1>\n#<lora:gone:1>' })
    t.equal(accepted.status, 202, JSON.stringify(accepted.body))
    t.equal((await ask({ prompt: '#red\n<lora:nowhere:1>' })).status, 422)
    const listed = await ask({ prompt: 'a lighthouse # by night', loras: [{ name: 'old', weight: 0.5 }] })
    const job = await service.until(String(listed.body.job_id), 'completed', 'failed')
    t.match(job.generation_params, { prompt: 'a lighthouse # by night\n <lora:old:0.5>' }, 'one that is added stands in no comment')
  })
})
