import { once } from 'node:events'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { quick, type Service } from '../helper.ts'
import { startBots, type BotService } from '../bots/studio.ts'

/** Seeds as apps send them, and the last that there is. */
const seeds = ['1234567890123456789', '9007199254740993', '18446744073709551615', '4294967295', '0'] as const

t.test('seeds of 64 bits', async t => {
  const service = await startBots(t, { settings: { EGRESS_PROFILE: 'lan' } })

  await t.test('reach the server with all their digits from every interface, as numbers and as text', async t => {
    for (const seed of seeds) {
      const body = JSON.stringify(quick).slice(0, -1)
      for (const given of [seed, `"${seed}"`]) {
        const direct = await post(service, '/sdapi/v1/txt2img', `${body},"seed":${given}}`)
        t.match(direct.text, `"seed":${seed},`, 'the drop-in echoes it')
        t.match(direct.text, `\\"all_seeds\\":[${seed}]`, 'and gives the server\'s info as it came')
        t.match(lastSent(service), `"seed":${seed},`)

        const accepted = await post(service, '/api/v2/generate',
          `{"target_server_alias":"default","generation_params":${body},"seed":${given}}}`)
        t.match(accepted.text, `"seed":${seed},"seed_text":"${seed}"`)
        await ended(service, accepted.json.job_id)
        t.match(lastSent(service), `"seed":${seed},`)
        const job = await get(service, `/api/v2/jobs/${String(accepted.json.job_id)}`)
        t.match(job, `"seed":${seed},"seed_text":"${seed}"`, 'of the image')
        t.match(job, new RegExp(`"generation_params":\\{[^}]*"seed":${seed}[,}]`))
        t.match(job, `\\"seed\\":${seed}`, 'in the JSON texts')
        t.match(job, new RegExp(`"generation_info":\\{.*"all_seeds":\\[${seed}\\]`))

        const asked = await post(service, '/generate/txt2img', `${body},"user_id":"ann","seed":${given}}`)
        t.match(asked.text, `"seed":${seed},"seed_text":"${seed}"`)
        await service.ended(asked.json.job_id)
        t.match(lastSent(service), `"seed":${seed},`)
        t.match(await get(service, `/jobs/${String(asked.json.job_id)}/result`), `"all_seeds":[${seed}]`)
      }
      const listed = await get(service, '/api/v2/jobs?limit=3')
      t.match(listed, `"seed":${seed},"seed_text":"${seed}"`)
      t.match(await get(service, '/api/v1/gallery?limit=3'), `"seed":${seed},"seed_text":"${seed}"`)
    }
  })

  await t.test('are read exactly from infotexts, images, forms and Python', async t => {
    const [seed] = seeds
    const infotext = `a lighthouse\nSteps: 2, Sampler: Euler a, CFG scale: 7, Seed: ${seed}, Size: 64x64, Variation seed: 18446744073709551615, Variation seed strength: 0.1`
    await ended(service, await service.submit({ generation_info_raw: infotext }))
    t.match(lastSent(service), `"seed":${seed},"subseed":18446744073709551615,`)
    await post(service, '/sdapi/v1/txt2img', JSON.stringify({ ...quick, infotext }))
    t.match(lastSent(service), `"seed":${seed},`)
    const made = await post(service, '/sdapi/v1/txt2img', `${JSON.stringify(quick).slice(0, -1)},"seed":${seed}}`)
    const [image = ''] = made.json.images as string[]
    const parameters = await post(service, '/api/v1/read-parameters', JSON.stringify({ image }))
    t.match(parameters.text, `"seed":"${seed}"`)
    const info = await post(service, '/sdapi/v1/png-info', JSON.stringify({ image }))
    t.match(info.text, seed)

    const form = new FormData()
    form.set('user_id', 'ann')
    form.set('request', `{'prompt': 'a lighthouse', 'steps': 2, 'width': 64, 'height': 64, 'seed': ${seed}}`)
    const answer = await fetch(`${service.url}/generate/txt2img`, { method: 'POST', body: form })
    await service.ended((await answer.json() as { job_id: string }).job_id)
    t.match(lastSent(service), `"seed":${seed},`)
  })

  await t.test('pass through arguments of scripts and ControlNet units, and come back with the client\'s own numbers', async t => {
    const [seed] = seeds
    const accepted = await post(service, '/api/v2/generate', `{"target_server_alias":"default","metadata":{"user":123456789012345678},
      "generation_params":{"prompt":"a","steps":1,"width":64,"height":64,"script_name":"prompts from file or textbox",
      "script_args":[false,false,"start","--seed 1",${seed}],"alwayson_scripts":{"controlnet":{"args":[{"enabled":false,"seed":${seed}}]}}}}`)
    await ended(service, accepted.json.job_id)
    t.match(lastSent(service), `"--seed 1",${seed}]`)
    t.match(await get(service, `/api/v2/jobs/${String(accepted.json.job_id)}`), '"metadata":{"user":123456789012345678}')
  })

  await t.test('of a batch are consecutive, exactly, up to the last', async t => {
    const id = await service.submit({ ...quick, seed: '18446744073709551613', batch_size: 3 })
    await ended(service, id)
    const job = await get(service, `/api/v2/jobs/${id}`)
    t.match(job, '"all_seeds":[18446744073709551613,18446744073709551614,18446744073709551615]')
    for (const last of ['613', '614', '615']) t.match(job, `"seed":18446744073709551${last},"seed_text":"18446744073709551${last}"`)
    const over = await service.request('POST', '/api/v2/generate', {
      target_server_alias: 'default', generation_params: { ...quick, seed: '18446744073709551614', n_iter: 3 }
    })
    t.match(over, { status: 400, body: { error: 'invalid_field_value', details: { field: 'generation_params.seed' } } })

    const bulk = await post(service, '/api/v2/generate/bulk', `{"target_server_alias":"default","bulk_quantity":3,
      "seed_variation":"incremental","base_seed":9007199254740991,"generation_params":${JSON.stringify(quick)}}`)
    const ids = (bulk.json.jobs as Array<{ id: string }>).map(job => job.id)
    for (const [index, one] of ids.entries()) {
      await ended(service, one)
      t.match(await get(service, `/api/v2/jobs/${one}`), `"seed_text":"${9007199254740991n + BigInt(index)}"`)
    }
  })

  await t.test('survive a retry, and a submission of the same parameters again', async t => {
    const [seed] = seeds
    await service.request('POST', '/api/v1/servers/Main/pause')
    const id = await service.submit({ ...quick, seed })
    await service.request('POST', `/api/v2/jobs/${id}/cancel`)
    await service.request('POST', '/api/v1/servers/Main/resume')
    t.equal((await service.request('POST', `/api/v2/jobs/${id}/retry`)).status, 200)
    await ended(service, id)
    t.match(lastSent(service), `"seed":${seed},`)
    const job = await get(service, `/api/v2/jobs/${id}`)
    const again = /"generation_params_json":("(?:[^"\\]|\\.)*")/.exec(job)?.[1] ?? '""'
    const repeated = await post(service, '/api/v2/generate', `{"target_server_alias":"default","generation_params":${String(JSON.parse(again))}}`)
    await ended(service, repeated.json.job_id)
    t.match(lastSent(service), `"seed":${seed},`)
  })

  await t.test('are kept in presets, sessions and grids', async t => {
    const [seed] = seeds
    const preset = await post(service, '/presets/ann', `{"name":"Exact","config":{"seed":${seed},"steps":2,"width":64,"height":64}}`)
    const used = await post(service, '/generate/txt2img', JSON.stringify({ user_id: 'ann', prompt: 'a', preset_id: preset.json.preset_id }))
    await service.ended(used.json.job_id)
    t.match(lastSent(service), `"seed":${seed},`)

    await service.request('PUT', '/sessions/ben', `{"custom_settings":{"seed":${seed},"width":64,"height":64,"steps":2}}`)
    const own = await post(service, '/generate/txt2img', JSON.stringify({ user_id: 'ben', prompt: 'a' }))
    await service.ended(own.json.job_id)
    t.match(lastSent(service), `"seed":${seed},`)

    const before = service.recorder.generations.length
    const batch = await post(service, '/generate/batch', `{"user_id":"ann","base_request":{"prompt":"a","steps":1,"width":64,"height":64},
      "axes":[{"field":"seed","range":{"start":18446744073709551613,"stop":18446744073709551615,"step":1}}]}`)
    t.equal(batch.status, 200, batch.text)
    await service.ended(batch.json.batch_id ?? batch.json.job_id)
    t.match(await get(service, `/generate/batch/${String(batch.json.batch_id)}`), '18446744073709551613', 'labels')
    t.same(service.recorder.generations.slice(before).map(({ text }) => /"seed":(\d+)/.exec(text)?.[1]).toSorted(),
      ['18446744073709551613', '18446744073709551614', '18446744073709551615'])
  })

  await t.test('are in webhooks as numbers and as text', async t => {
    const [seed] = seeds
    const bodies: string[] = []
    const receiver = createServer((request, response) => {
      text(request).then(body => {
        bodies.push(body)
        response.end()
        receiver.emit('came')
      }, () => {})
    })
    await new Promise<void>(resolve => { receiver.listen(0, '127.0.0.1', resolve) })
    t.teardown(() => { receiver.close() })
    const { port } = receiver.address() as { port: number }
    await service.submit({ ...quick, seed }, { webhookUrl: `http://127.0.0.1:${port}/hook`, webhookEvents: ['job.completed'] })
    while (bodies.length === 0) await once(receiver, 'came')
    t.match(bodies[0], `"seed":${seed},"seedText":"${seed}"`)
    t.match(bodies[0], new RegExp(`"parameters":\\{[^}]*"seed":${seed}[,}]`))
  })

  await t.test('beyond 64 bits are rejected with their field, and by the drop-in as A1111 does', async t => {
    for (const seed of ['18446744073709551616', '-2', '99999999999999999999999999999999999999', '1.5', '"many"']) {
      const answer = await post(service, '/api/v2/generate', `{"target_server_alias":"default","generation_params":{"prompt":"a","seed":${seed}}}`)
      t.equal(answer.status, 400, seed)
      t.match(answer.json, { details: { field: 'generation_params.seed' }, message: /-1 to 18446744073709551615/ }, seed)
      const bot = await post(service, '/generate/txt2img', `{"user_id":"ann","prompt":"a","seed":${seed}}`)
      t.equal(bot.status, 422, seed)
      t.match(bot.text, '"seed"', seed)
    }
    const bulk = await post(service, '/api/v2/generate/bulk', `{"target_server_alias":"default","bulk_quantity":2,
      "seed_variation":"incremental","base_seed":18446744073709551615,"generation_params":{"prompt":"a"}}`)
    t.match(bulk, { status: 400, json: { error: 'invalid_field_value', details: { field: 'base_seed' } } })
    const low = await post(service, '/sdapi/v1/txt2img', `${JSON.stringify(quick).slice(0, -1)},"seed":-5}`)
    t.match(low.text, '\\"all_seeds\\":[-5]', 'A1111 takes negative seeds')
    const direct = await fetch(`${service.simulator.url}/sdapi/v1/txt2img`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"seed":18446744073709551616,"steps":1}'
    })
    const high = await post(service, '/sdapi/v1/txt2img', '{"seed":18446744073709551616,"steps":1}')
    t.equal(high.status, 500)
    t.same(high.json, await direct.json())
  })
})

async function post (service: Service, path: string, body: string) {
  const response = await fetch(service.url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  const answer = await response.text()
  return { status: response.status, text: answer, json: JSON.parse(answer) as Record<string, unknown> }
}

async function get (service: Service, path: string): Promise<string> {
  return await (await fetch(service.url + path)).text()
}

async function ended (service: Service, id: unknown) {
  return await service.until(String(id), 'completed', 'failed')
}

/** The text of the last request to the server. */
function lastSent (service: BotService): string {
  return service.recorder.generations.at(-1)?.text ?? ''
}
