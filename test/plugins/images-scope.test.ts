import t from 'tap'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { quick, startService } from '../helper.ts'

t.test('images of finished jobs need images:read on every interface, the direct answer does not', async t => {
  const service = await startService(t, { settings: { RATE_LIMIT_PER_MINUTE: '0' } })
  const { accessKey, secret } = await service.services.accessKeys.create({
    name: 'blind', scopes: ['jobs:write', 'jobs:read', 'models:read', 'servers:read']
  })
  const headers = { 'x-api-key': accessKey.key, 'x-api-secret': secret }
  const direct = await service.request('POST', '/sdapi/v1/txt2img', quick, headers)
  t.match(direct, { status: 200, body: { images: [/^iVBOR/] } })

  const submitted = await service.request('POST', '/api/v2/generate', {
    target_server_alias: 'default',
    generation_params: quick,
    webhookUrl: 'https://example.com/hook',
    webhookKey: 'k'.repeat(20)
  }, headers)
  const id = String(submitted.body.job_id)
  t.match(JSON.stringify(submitted.body.warnings), /WEBHOOK_IMAGES_LEFT_OUT/)
  const [image] = (await service.until(id, 'completed')).images
  const batch = await service.request('POST', '/generate/batch', {
    user_id: 'u', base_request: quick, variations: [{ seed: 1 }, { seed: 2 }]
  }, headers)
  for (const job of batch.body.job_ids as string[]) await service.until(job, 'completed')
  const batchId = String(batch.body.batch_id)

  for (const path of [
    `/outputs/${image?.filename ?? ''}`, `/sdapi/v1/job/${id}`, `/sdapi/v1/jobs/${id}`, `/jobs/${id}/result`,
    `/jobs/${id}/result?format=url`, `/jobs/${batchId}/result`, `/generate/batch/${batchId}/grid`,
    `/api/v2/jobs/${id}/preview`, '/api/v1/gallery'
  ]) {
    const { status, body } = await service.request('GET', path, undefined, headers)
    t.equal(status, 403, path)
    t.match(JSON.stringify(body), /images:read/, `${path} names the scope`)
  }
  for (const path of [`/api/v2/jobs/${id}`, `/jobs/${id}`, '/sdapi/v1/jobs', `/generate/batch/${batchId}`]) {
    t.equal((await service.request('GET', path, undefined, headers)).status, 200, path)
  }
  await service.services.accessKeys.update(accessKey.id, { scopes: [...accessKey.scopes, 'images:read'] })
  for (const path of [`/sdapi/v1/job/${id}`, `/sdapi/v1/jobs/${id}`, `/jobs/${id}/result`, `/generate/batch/${batchId}/grid`]) {
    t.equal((await service.request('GET', path, undefined, headers)).status, 200, `${path} with the scope`)
  }

  for (const folder of ['outputs', 'media', 'media/inputs', 'thumbnails']) {
    t.equal((await stat(join(service.dataDirectory, folder))).mode & 0o007, 0, `${folder} is closed to others`)
  }
  for (const path of [
    '/health', '/status', '/metrics', '/nowhere', '/sdapi/v1/nowhere', '/generate/nowhere', '/api/v2/jobs', '/sdapi/v1/options',
    '/jobs/none', '/openapi.json', '/docs', '/dashboard', '/', '/%zz', `/sdapi/v1/job/${id}`
  ]) {
    const answer = await service.request('GET', path)
    t.equal(answer.headers.get('x-content-type-options'), 'nosniff', path)
  }
})

t.end()
