import { execFile } from 'node:child_process'
import { request as httpRequest } from 'node:http'
import { readdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import sharp from 'sharp'
import t from 'tap'
import { listenTo } from '../events/listener.ts'
import { startService, type JsonBody } from '../helper.ts'
import { folderWith, safetensors, scan, scanned, untilScan } from './files.ts'

const sha256sum = async (path: string) => (await promisify(execFile)('sha256sum', [path])).stdout.slice(0, 64)
const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: 'teal' } }).png().toBuffer()

t.test('model folders', async t => {
  const folder = await folderWith(t, {
    'Stable-diffusion/dreamscape-v8.safetensors': safetensors({ 'modelspec.architecture': 'stable-diffusion-xl-v1-base' }),
    'Stable-diffusion/sdxl/juggernaut-xl.safetensors': safetensors({}, 2),
    'Stable-diffusion/broken.safetensors': 'no safetensors at all',
    'Lora/film-grain.safetensors': safetensors({
      ss_base_model_version: 'sdxl_base_v1-0', ss_tag_frequency: '{"set":{"grain":9,"film":12}}'
    }, 3),
    'Lora/film-grain.json': {
      description: 'Old <b>film</b><script>alert(1)</script>',
      'sd version': 'SDXL',
      'activation text': 'film grain, 35mm',
      'preferred weight': 0.7,
      notes: 'mine'
    },
    'Lora/film-grain.civitai.info': {
      id: 22, modelId: 11, name: 'v2', baseModel: 'SDXL 1.0', trainedWords: ['grainy'], model: { name: 'Film Grain', type: 'LORA', nsfw: false }, images: [{ url: 'https://image.civitai.com/x.jpeg', nsfwLevel: 1 }]
    },
    'Lora/film-grain.preview.png': png,
    'Lora/film-grain.jpg': '<svg onload=alert(1)>',
    'LyCORIS/eyes.safetensors': safetensors({ ss_network_module: 'lycoris.kohya' }, 4),
    'VAE/sdxl_vae.safetensors': safetensors({}, 5),
    'embeddings/easy-negative.pt': 'pickle',
    'notes.txt': 'no model'
  })
  const outside = await folderWith(t, { 'secret.safetensors': safetensors({}, 9), 'secret.json': { password: 'hunter2' } })
  await symlink(outside, join(folder, 'Lora', 'elsewhere'))
  await symlink(join(outside, 'secret.json'), join(folder, 'Lora', 'film-grain.metadata.json'))
  await symlink(join(folder, 'Stable-diffusion'), join(folder, 'Stable-diffusion', 'loop'))
  const service = await startService(t, { settings: { MODELS_DIR: folder, LORA_DIR: join(folder, 'Lora') } })
  const get = async (reference: string) =>
    (await service.request('GET', `/api/v1/models/${encodeURIComponent(reference)}`)).body.model as JsonBody

  t.test('are scanned at the start, each file once, without links to the outside', async t => {
    const { state, stats, problems } = await scanned(service)
    t.equal(state, 'completed')
    t.match(stats, { total: 7, added: 7, errors: 0, hashesCalculated: 7, hashErrors: 0, hashesWaiting: 0 })
    t.match((problems as string[])[0], /elsewhere: the link leads out/)
    const { body } = await service.request('GET', '/api/v1/models?search=secret')
    t.equal(body.total, 0)
  })

  t.test('give hashes as sha256sum computes them, in lower case, and AutoV2 as their beginning', async t => {
    const path = join(folder, 'Lora/film-grain.safetensors')
    const { hash_sha256: sha256, hash_autov2: autoV2, hash_autov3: autoV3 } = await get('film-grain')
    t.equal(sha256, await sha256sum(path))
    t.equal(autoV2, String(sha256).slice(0, 10))
    const header = safetensors({}, 3)
    await writeFile(join(folder, 'tensors'), header.subarray(8 + Number(header.readBigUInt64LE())))
    t.equal(autoV3, (await sha256sum(join(folder, 'tensors'))).slice(0, 12))
    const { status, body } = await service.request('POST', '/api/v1/models/film-grain/calculate-hash')
    t.match({ status, body }, { status: 200, body: { hash: sha256, hash_autov2: autoV2, hash_autov3: autoV3 } })
  })

  t.test('and servers are joined: one entry for a file here and at a server', async t => {
    const checkpoint = await get('juggernaut-xl')
    t.match(checkpoint, { on_disk: true, path: 'sdxl/juggernaut-xl.safetensors', servers: [{ alias: 'Main', title: /^sdxl\/juggernaut-xl/ }] })
    t.match(await get('sdxl_vae.safetensors'), { type: 'vae', on_disk: true, servers: [{ alias: 'Main' }] })
    t.match(await get('easy-negative'), { type: 'embedding', on_disk: true, servers: [{ alias: 'Main' }] })
    t.match(await get('eyes'), { type: 'lora', lycoris: true, servers: [] })
    const { body } = await service.request('GET', '/api/v1/models?search=dreamscape')
    t.match(body.models, [{ servers: [] }, { servers: [{ alias: 'Main' }] }], 'other content at the same path is another model')
    t.match(body.models, [{ base_model: 'SDXL', on_disk: true }, { on_disk: false }])
    t.match(await service.request('GET', '/api/v1/models/dreamscape-v8.safetensors'),
      { status: 409, body: { error: 'model_ambiguous' } })
  })

  t.test('show people\'s texts beside a file before Civitai\'s and the file\'s own', async t => {
    const lora = await get('film-grain')
    t.match(lora, {
      name: 'Film Grain',
      base_model: 'SDXL',
      trigger_words: ['film grain', '35mm'],
      recommended_weight: 0.7,
      notes: 'mine',
      description: 'Old <b>film</b>',
      tags: ['film', 'grain'],
      metadata_source: 'forge',
      civitai_id: 11,
      civitai_version_id: 22,
      civitai_url: 'https://civitai.com/models/11?modelVersionId=22',
      civitai: { id: 22, modelId: 11, name: 'v2', model: { name: 'Film Grain', type: 'LORA' } }
    })
    t.notOk(JSON.stringify(lora).includes(folder), 'and never a path of this machine')
  })

  t.test('serve previews only if they are images', async t => {
    const { id, previews } = await get('film-grain')
    t.equal((previews as string[])[0], `/api/v1/models/${id}/preview`)
    const response = await fetch(`${service.url}/api/v1/models/film-grain.safetensors/preview`)
    t.equal(response.headers.get('content-type'), 'image/png')
    t.same(Buffer.from(await response.arrayBuffer()), png)
    const tag = response.headers.get('etag') ?? ''
    t.equal((await fetch(`${service.url}/api/v1/models/${id}/preview`, { headers: { 'if-none-match': tag } })).status, 304)
    for (const index of [1, 99]) {
      const { status } = await service.request('GET', `/api/v1/models/${id}/preview?index=${index}`)
      t.equal(status, 404, `${index}: what is no picture is none`)
    }
  })

  t.test('are read again only if something changed, and a renamed file keeps its hash', async t => {
    const unchanged = { total: 7, skipped: 7, added: 0, updated: 0, deleted: 0, hashesCalculated: 0 }
    t.match((await scan(service)).stats, unchanged)
    await writeFile(join(folder, 'Lora/film-grain.json'), JSON.stringify({ 'activation text': 'new words' }))
    await rename(join(folder, 'VAE/sdxl_vae.safetensors'), join(folder, 'VAE/other_vae.safetensors'))
    await rm(join(folder, 'LyCORIS/eyes.safetensors'))
    t.match((await scan(service)).stats,
      { total: 6, skipped: 4, updated: 1, added: 1, deleted: 2, hashesCalculated: 0 })
    t.match(await get('film-grain'), { trigger_words: ['new words'] })
    t.match(await get('other_vae'), { hash_sha256: await sha256sum(join(folder, 'VAE/other_vae.safetensors')) })
  })

  t.test('show whether files are hashed, the time that needs, and which servers have them', async t => {
    const info = async (name: string) => (await service.request('GET', `/api/v1/models/${name}/hash-info`)).body
    const size = safetensors({}, 2).length
    t.match(await info('juggernaut-xl.safetensors'), {
      model: { filename: 'juggernaut-xl.safetensors', hasHash: true, existingHash: await sha256sum(join(folder, 'Stable-diffusion/sdxl/juggernaut-xl.safetensors')) },
      fileInfo: { sizeBytes: size, size: `${size} B`, canCalculateHash: true, reason: null, estimatedTime: 1 }
    })
    t.match(await info('watercolor-style'), { fileInfo: { canCalculateHash: false, sizeBytes: null, reason: /Only servers/ } })
    const { body } = await service.request('GET', '/api/v1/models/juggernaut-xl/availability')
    t.match(body, { servers: [{ server_id: 'Main', title: /^sdxl\/juggernaut-xl/, last_seen: /^\d{4}-/ }] })
    const none = await service.request('GET', '/api/v1/models/other_vae/availability', undefined, { 'x-server-id': 'Main' })
    t.match(none.body, { servers: [] })
    const unknown = await service.request('GET', '/api/v1/models/juggernaut-xl/availability', undefined, { 'x-server-id': 'Nobody' })
    t.match(unknown, { status: 404, body: { error: 'server_not_found' } })
  })

  t.test('keep their owner\'s texts beside the file, and nothing else changes there', async t => {
    const update = async (body: object) => await service.request('PUT', '/api/v1/models/update-field', body)
    const sidecar = async (name: string) => JSON.parse(await readFile(join(folder, 'Lora', name), 'utf8')) as JsonBody
    await writeFile(join(folder, 'Lora/film-grain.json'), JSON.stringify({ 'activation text': 'old', extra: { kept: true } }))
    const film = { filename: 'film-grain.safetensors' }
    t.match((await update({ ...film, field: 'trigger_words', value: ['35mm', 'grain'] })).body, { model: { trigger_words: ['35mm', 'grain'] } })
    t.match((await update({ ...film, field: 'recommended_weight', value: 0.5 })).body, { model: { recommended_weight: 0.5 } })
    t.match((await update({ ...film, field: 'notes', value: 'for old films' })).body, { model: { notes: 'for old films' } })
    t.same(await sidecar('film-grain.json'), {
      'activation text': '35mm, grain', extra: { kept: true }, 'preferred weight': 0.5, notes: 'for old films'
    })
    t.match((await update({ ...film, field: 'notes', value: null })).body, { model: { notes: null } })
    t.match(await get('film-grain'), { civitai_nsfw: false })
    t.match((await update({ ...film, field: 'civitai_nsfw', value: true })).body, { model: { civitai_nsfw: true } })
    t.same(await sidecar('film-grain.civitai.json'), { marked_nsfw: true })
    t.match((await update({ ...film, local_path: '', field: 'civitai_nsfw', value: false })).body, { model: { civitai_nsfw: false } })

    for (const wrong of [{ field: 'civitai_nsfw', value: 'yes' }, { field: 'recommended_weight', value: '1' }, { field: 'sha256', value: 'x' }]) {
      t.equal((await update({ ...film, ...wrong })).status, 400, JSON.stringify(wrong))
    }
    for (const wrong of [{ filename: '../../../etc/passwd' }, { local_path: '../..', filename: 'etc/passwd' }, { local_path: 'elsewhere', filename: 'secret.safetensors' }]) {
      t.equal((await update({ ...wrong, field: 'notes', value: 'x' })).status, 404, JSON.stringify(wrong))
    }
    t.match(await update({ filename: 'watercolor-style', field: 'notes', value: 'x' }), { status: 409, body: { error: 'model_not_on_disk' } })
    await writeFile(join(folder, 'Lora/film-grain.json'), 'not JSON at all')
    t.match(await update({ ...film, field: 'notes', value: 'x' }), { status: 409, body: { error: 'model_not_writable', message: /film-grain.json/ } })
    t.equal(await readFile(join(folder, 'Lora/film-grain.json'), 'utf8'), 'not JSON at all', 'somebody\'s file stays as it is')
    await rm(join(outside, 'secret.civitai.json'), { force: true })
    t.same((await readdir(outside)).sort(), ['secret.json', 'secret.safetensors'])
  })

  t.test('are read again file by file, with a hash on request', async t => {
    const { status, body } = await service.request('POST', '/api/v1/models/other_vae/rescan', { generateHash: true })
    t.match({ status, body }, {
      status: 200, body: { model: { filename: 'other_vae.safetensors' }, operations: { hashCalculated: true, civitaiDataFetched: false, previewDownloaded: false } }
    })
  })

  t.test('take long to hash: a scan shows its progress, and can be stopped', async t => {
    const listener = await listenTo(`${service.url}/api/v1/events?kinds=models-scanned,scan-progress`)
    t.teardown(listener.close)
    // A sparse file: it uses no space on the disk, but takes a minute to hash.
    const huge = join(folder, 'Stable-diffusion', 'huge.safetensors')
    await writeFile(huge, '')
    await truncate(huge, 30_000_000_000)
    await service.request('POST', '/api/v1/models/scan')
    const running = await untilScan(service, ({ state, phase }) => state === 'running' && phase === 'hashing')
    t.match(running, { cancelled: false, ended_at: null, stats: { total: 7, added: 1, hashesWaiting: Number } })
    t.match((await service.request('GET', '/api/v1/models/scan/status')).body.state, 'running')
    t.match(await listener.until(({ kind, data }) => kind === 'scan-progress' && data.total === 7),
      { id: null, data: { state: 'running', total: 7 } }, 'listeners hear of it as it goes on')
    t.match((await service.request('POST', '/api/v1/models/scan/stop')).body, { success: true, message: 'The scan will stop.' })
    const stopped = await untilScan(service, ({ state }) => state !== 'running')
    t.match(stopped, { state: 'stopped', cancelled: true, message: 'The scan was stopped.' })
    t.match(await get('huge.safetensors'), { size: 30_000_000_000, hash_sha256: null }, 'what it found stays')
    t.match(await listener.untilKind('models-scanned'), { data: { state: 'stopped', total: 7 } })
    t.match((await service.request('POST', '/api/v1/models/scan/stop')).body, { message: 'No scan is running.' })
    await rm(huge)
    t.match((await scan(service)).stats, { deleted: 1, duplicates: { count: 0, groups: [] }, hashesSkipped: 6 })
  })

  t.test('are all forgotten on request, and found again', async t => {
    const { body } = await service.request('POST', '/api/v1/models/reset-database')
    t.match(body, { success: true, message: '6 model files were forgotten; a scan finds them again.' })
    t.match((await untilScan(service, ({ state }) => state === 'completed')).stats, { total: 6, added: 6, hashesCalculated: 6 })
    t.match(await get('film-grain'), { on_disk: true, hash_sha256: await sha256sum(join(folder, 'Lora/film-grain.safetensors')) })
  })

  t.test('serve nothing from outside, in any notation of a path', async t => {
    const corpus = [
      '../../etc/passwd', '..%2f..%2f..%2fetc%2fpasswd', '%2e%2e/%2e%2e/etc/passwd', '..\\..\\etc\\passwd',
      '..%5c..%5cetc%5cpasswd',
      '/etc/passwd',
      '%2fetc%2fpasswd', 'C:\\Windows\\win.ini', 'C:%5cWindows%5cwin.ini',
      '\\\\server\\share\\x', '....//....//etc/passwd',
      '%252e%252e%252fetc%252fpasswd', '..%c0%af..%c0%afetc/passwd', 'elsewhere%2fsecret.safetensors', 'elsewhere/secret.json',
      `${outside}/secret.json`.replaceAll('/', '%2f'), 'film-grain.json', 'film-grain.metadata.json',
      'film-grain%00.json', 'file:%2f%2f%2fetc%2fpasswd',
      'Lora%2f..%2f..%2fsecret', '~%2f.ssh%2fid_rsa', 'con', 'film-grain.safetensors:stream', '.', '..', '%2e', '%2e%2e'
    ]
    for (const path of corpus) {
      for (const tail of ['', '/info', '/preview', '/preview?index=1']) {
        const { status, text } = await rawGet(service.url, `/api/v1/models/${path}${tail}`)
        t.notMatch(text, /root:|hunter2|PRIVATE KEY|\[fonts\]/, `${path}${tail}`)
        if (!['.', '..', '%2e', '%2e%2e'].includes(path)) t.not(status, 200, `${path}${tail}`)
      }
    }
  })
})

/** Sends the path unchanged; fetch would normalize it. */
async function rawGet (url: string, path: string): Promise<{ status: number, text: string }> {
  const { hostname, port } = new URL(url)
  return await new Promise((resolve, reject) => {
    const sent = httpRequest({ hostname, port, path }, answer => {
      let text = ''
      answer.setEncoding('utf8').on('data', part => { text += part }).on('end', () => resolve({ status: answer.statusCode ?? 0, text }))
    })
    sent.on('error', reject).end()
  })
}
