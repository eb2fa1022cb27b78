import { readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { quick, startService, type JsonBody } from '../helper.ts'
import { folderWith, safetensors, scanned } from './files.ts'

t.test('model files', async t => {
  const folder = await folderWith(t, {
    'one.safetensors': safetensors({}, 1),
    'copy/one-again.safetensors': safetensors({}, 1),
    'copy/one-again.json': { notes: 'the one with notes' },
    'third.safetensors': safetensors({}, 1),
    'two.safetensors': safetensors({}, 2),
    'two.json': { notes: 'mine' },
    'two.preview.png': 'a picture',
    'shared.safetensors': safetensors({}, 3),
    'shared.pt': 'another model of that stem',
    'shared.json': { notes: 'of both' },
    'changed.safetensors': safetensors({}, 4),
    'replaced.safetensors': safetensors({}, 5)
  })
  const outside = await folderWith(t, { 'precious.safetensors': safetensors({}, 9) })
  const service = await startService(t, { settings: { LORA_DIR: folder } })
  await scanned(service)
  const files = async () => (await readdir(folder, { recursive: true })).filter(name => name !== 'copy').sort()

  t.test('of equal content are listed, and the one with notes is the one to keep', async t => {
    const { body } = await service.request('GET', '/api/v1/models/duplicates')
    t.equal(body.count, 2)
    const [group] = body.groups as Array<{ hash: string, files: JsonBody[] }>
    t.same(group?.files.map(({ path, keep }) => [path, keep]), [
      ['copy/one-again.safetensors', true], ['one.safetensors', false], ['third.safetensors', false]
    ].sort((one, other) => Number(other[1]) - Number(one[1])))
  })

  t.test('are cleaned up only group by group, and only if they still have that content', async t => {
    t.equal((await service.request('POST', '/api/v1/models/cleanup-duplicates')).status, 400)
    const { body } = await service.request('GET', '/api/v1/models/duplicates')
    const [group] = body.groups as Array<{ hash: string }>
    await writeFile(join(folder, 'third.safetensors'), 'changed after the scan')
    const answer = await service.request('POST', '/api/v1/models/cleanup-duplicates', { hashes: [group?.hash] })
    t.match(answer.body, { success: true, clearedCount: 1, errors: [/third.safetensors is not what it was/] })
    t.notOk((await files()).includes('one.safetensors'))
    t.ok((await files()).includes('third.safetensors'))
    t.ok((await files()).includes('copy/one-again.safetensors'))
  })

  t.test('are deleted with their neighbouring files', async t => {
    const { body } = await service.request('DELETE', '/api/v1/models/delete-from-disk', { filename: 'two.safetensors' })
    t.match(body, {
      success: true,
      deletedFiles: [
        { type: 'model', path: 'two.safetensors' }, { type: 'sidecar', path: 'two.json' }, { type: 'preview', path: 'two.preview.png' }
      ]
    })
    t.equal((await service.request('GET', '/api/v1/models/two.safetensors')).status, 404)
  })

  t.test('keep files that also belong to another model', async t => {
    t.match((await service.request('DELETE', '/api/v1/models/shared.pt')).body, { success: true, clearedCount: 1 })
    t.ok((await files()).includes('shared.json'))
  })

  t.test('stay if they changed since the scan', async t => {
    await writeFile(join(folder, 'changed.safetensors'), 'new content')
    t.match((await service.request('DELETE', '/api/v1/models/changed.safetensors')).body,
      { success: false, errors: [/changed after the last scan/] })
    await rm(join(folder, 'replaced.safetensors'))
    await symlink(join(outside, 'precious.safetensors'), join(folder, 'replaced.safetensors'))
    t.match((await service.request('DELETE', '/api/v1/models/replaced.safetensors')).body,
      { success: false, errors: [/it has moved/] })
    t.same(await readdir(outside), ['precious.safetensors'])
  })

  t.test('that only servers have cannot be deleted here', async t => {
    t.match(await service.request('DELETE', '/api/v1/models/watercolor-style'),
      { status: 409, body: { error: 'model_not_on_disk' } })
  })

  t.test('cannot be deleted with an ordinary key', async t => {
    const { body } = await service.request('POST', '/api/v1/api-keys', { name: 'ordinary' })
    const { key, secret } = body.api_key as Record<string, string>
    const headers = { 'x-api-key': key ?? '', 'x-api-secret': secret ?? '' }
    for (const [method, path] of [['DELETE', '/api/v1/models/shared'], ['POST', '/api/v1/models/scan'],
      ['POST', '/api/v1/models/cleanup-duplicates'], ['POST', '/api/v1/models/shared/refresh-metadata']] as const) {
      t.equal((await service.request(method, path, { hashes: ['a'.repeat(64)] }, headers)).status, 403, path)
    }
    t.equal((await service.request('GET', '/api/v1/models', undefined, headers)).status, 200)
  })
})

t.test('a checkpoint has the server\'s title in every spelling', async t => {
  const service = await startService(t)
  const verify = async (name: string) =>
    (await service.request('GET', `/api/v1/debug/verify-checkpoint?checkpoint_name=${encodeURIComponent(name)}`)).body
  const submitted: string[] = []
  for (const name of [
    'sdxl/juggernaut-xl.safetensors', 'sdxl\\juggernaut-xl.safetensors', 'juggernaut-xl', 'sdxl_juggernaut-xl',
    '/somewhere/models/Stable-diffusion/sdxl/juggernaut-xl.safetensors', 'C:\\sd\\models\\sdxl\\juggernaut-xl.safetensors',
    'sdxl/juggernaut-xl.safetensors [0123456789]', 'juggernaut-xl [deadbeef]'
  ]) {
    t.match(await verify(name), { available: true, servers: [{ alias: 'Main', title: /^sdxl\/juggernaut-xl.safetensors/ }] }, name)
    const id = await service.submit({ ...quick, checkpoint_name: name })
    t.match((await service.job(id)).generation_params, { checkpoint_name: /^sdxl\/juggernaut-xl.safetensors/ }, `submitted as ${name}`)
    submitted.push(id)
  }
  const jobs = await Promise.all(submitted.map(async id => await service.until(id, 'completed')))
  const drawnWith = jobs.map(({ result_details: details }) =>
    ((details as JsonBody).generation_info as JsonBody).sd_model_name)
  t.same([...new Set(drawnWith)], ['juggernaut-xl'], 'and was drawn with it')
  t.match(await verify('nothing-like-it'), { available: false, servers: [{ title: null }], model_info: null })
  const { body: list } = await service.request('GET', '/api/v1/checkpoints?search=dreamscape')
  const [{ hash_sha256: sha256, id }] = list as unknown as [JsonBody]
  t.match((await service.request('POST', '/api/v1/checkpoint-verify', { civitai_version_id: String(sha256).toUpperCase() })).body,
    { interpreted_as: 'model_hash', available: true, match_type: 'sha256', model_info: { id } })
  t.equal((await service.request('POST', '/api/v1/servers/Main/test')).status, 200, 'the server is read again')
  t.match((await service.request('GET', '/api/v1/debug/models-cache')).body,
    { success: true, by_type: { checkpoint: 4 }, on_disk: 0, hashed: 2, servers: [{ alias: 'Main' }] })
})
