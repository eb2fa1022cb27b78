import t from 'tap'
import { quick, startService } from '../helper.ts'

t.test('a key has no more waiting jobs than its limit, however many requests arrive at once', async t => {
  const service = await startService(t, { worker: 'none', settings: { QUEUE_LIMIT_PER_KEY: '7', RATE_LIMIT_PER_MINUTE: '0' } })
  const target = { target_server_alias: 'default', generation_params: quick }
  const interfaces: ReadonlyArray<readonly [path: string, body: object, jobs: number]> = [
    ['/api/v1/generate', target, 1],
    ['/api/v2/generate', target, 1],
    ['/api/v2/generate/bulk', { ...target, bulk_quantity: 3 }, 3],
    ['/sdapi/v1/txt2img?async=1', quick, 1],
    ['/generate/txt2img', { ...quick, user_id: 'u' }, 1],
    ['/generate/batch', {
      user_id: 'u', base_request: quick, variations: [{ seed: 1 }, { seed: 2 }, { seed: 3 }]
    }, 3]
  ]

  async function newKey () {
    const { accessKey, secret } = await service.services.accessKeys.create({ name: 'one' })
    return { id: accessKey.id, headers: { 'x-api-key': accessKey.key, 'x-api-secret': secret } }
  }

  for (const [path, body, jobs] of interfaces) {
    const { id, headers } = await newKey()
    const answers = await Promise.all(Array.from({ length: 20 }, async () => await service.request('POST', path, body, headers)))
    const accepted = answers.filter(({ status }) => status < 300).length
    t.ok(answers.every(({ status }) => status < 300 || status === 429), `${path}: ${answers.map(({ status }) => status).join()}`)
    t.equal(accepted, Math.floor(7 / jobs), `${path} accepts what fits`)
    t.equal(await service.services.list.count({ keyId: id, status: 'pending' }), accepted * jobs, 'and nothing of what it refuses')
  }

  const { id, headers } = await newKey()
  const ids: string[] = []
  for (let round = 0; round < 2; round++) {
    for (let job = 0; job < 7; job++) {
      ids.push(String((await service.request('POST', '/api/v2/generate', target, headers)).body.job_id))
    }
    if (round === 0) await Promise.all(ids.map(async job => await service.request('POST', `/api/v2/jobs/${job}/cancel`, {}, headers)))
  }
  const retries = await Promise.all(ids.slice(0, 7).map(async job =>
    (await service.request('POST', `/api/v2/jobs/${job}/retry`, {}, headers)).status))
  t.strictSame(retries, Array(7).fill(429), 'a retry counts, too')
  t.equal(await service.services.list.count({ keyId: id, status: 'pending' }), 7)
  await service.request('POST', `/api/v2/jobs/${ids[7]}/cancel`, {}, headers)
  t.equal((await service.request('POST', `/api/v2/jobs/${ids[0]}/retry`, {}, headers)).status, 200, 'and finds room that was made')
})

t.end()
