import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import t from 'tap'
import { listenTo } from '../events/listener.ts'
import { startService, type JsonBody } from '../helper.ts'
import { folderWith, safetensors } from './files.ts'
import { startSource } from './source.ts'

const file = Buffer.concat([safetensors({}, 7), Buffer.alloc(800_000, 3)])
const sha256 = createHash('sha256').update(file).digest('hex')

/** The whole file, or the part that Range requests. */
function serve (request: IncomingMessage, response: ServerResponse): void {
  const [, from] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? []
  if (from === undefined) {
    response.writeHead(200, { 'content-length': file.length }).end(file)
    return
  }
  const part = file.subarray(Number(from))
  response.writeHead(206, {
    'content-length': part.length, 'content-range': `bytes ${from}-${file.length - 1}/${file.length}`
  }).end(part)
}

t.test('downloads', async t => {
  const source = await startSource(t)
  const elsewhere = await startSource(t)
  const folder = await folderWith(t, { 'there.safetensors': safetensors({}, 1) })
  const service = await startService(t, {
    settings: {
      LORA_DIR: folder,
      CIVITAI_BASE_URL: `${source.url}/api/v1`,
      CIVITAI_API_KEY: 'the-key',
      CIVITAI_INTERVAL_SECONDS: '0.01',
      HUGGINGFACE_BASE_URL: source.url
    }
  })

  function offer (id: number, name: string, path: string, hash = sha256): void {
    source.handlers.set(`/api/v1/model-versions/${id}`, (_request, response) => {
      response.end(JSON.stringify({
        id,
        modelId: 11,
        name: 'v1',
        baseModel: 'SDXL 1.0',
        trainedWords: ['grainy'],
        model: { name: 'Film Grain', type: 'LORA' },
        files: [{ name, primary: true, downloadUrl: `${source.url}${path}`, hashes: { SHA256: hash.toUpperCase() } }]
      }))
    })
  }

  const order = async (id: number, more = {}) =>
    await service.request('POST', '/api/v1/civitai/download-model', { civitaiModelVersionId: id, ...more })

  async function ended (id: unknown): Promise<JsonBody> {
    for (;;) {
      const { body } = await service.request('GET', `/api/v1/downloads/${String(id)}`)
      const download = body.download as JsonBody
      if (['completed', 'failed', 'cancelled'].includes(String(download.status))) return download
      await new Promise(resolve => { setTimeout(resolve, 20) })
    }
  }

  t.test('continue after an interruption, and end in the catalogue with Civitai\'s data', async t => {
    let times = 0
    offer(1, 'film-grain.safetensors', '/file/1')
    source.handlers.set('/file/1', (request, response) => {
      if (times++ > 0) return serve(request, response)
      response.writeHead(200, { 'content-length': file.length })
      response.write(file.subarray(0, 500_000), () => response.destroy())
    })
    const { status, body } = await order(1)
    t.match({ status, body }, { status: 202, body: { modelName: 'Film Grain', type: 'lora', filename: 'film-grain.safetensors' } })
    t.match(await ended(body.downloadId), { status: 'completed', progress: 100, bytes_received: file.length })
    t.same(await readFile(join(folder, 'film-grain.safetensors')), file)
    const asked = source.requests.filter(({ path }) => path === '/file/1')
    t.equal(asked.length, 2)
    t.match(asked[1]?.range, /^bytes=[1-9]\d*-$/, 'what was there was not fetched again')
    t.match(asked[0]?.authorization, 'Bearer the-key')
    const { body: found } = await service.request('GET', '/api/v1/models/film-grain.safetensors?type=lora')
    t.ok((found.model as JsonBody | undefined) !== undefined || found.error === 'model_ambiguous', 'it is listed')
    const { body: list } = await service.request('GET', `/api/v1/models/${sha256}`)
    t.match(list.model, { hash_sha256: sha256, on_disk: true, trigger_words: ['grainy'], civitai_version_id: 1 })
    t.same((await readdir(folder)).filter(name => name.includes('.part')), [])
  })

  t.test('keep nothing of a file with another hash', async t => {
    offer(2, 'forged.safetensors', '/file/2', 'f'.repeat(64))
    source.handlers.set('/file/2', serve)
    const { body } = await order(2)
    t.match(await ended(body.downloadId), { status: 'failed', error_message: /its SHA-256 is .* but should be f+/ })
    t.same((await readdir(folder)).filter(name => name.startsWith('forged')), [])
  })

  t.test('follow no redirect to a private address, and send the key to no other host', async t => {
    offer(3, 'inside.safetensors', '/file/3')
    elsewhere.handlers.set('/secret', serve)
    source.handlers.set('/file/3', (_request, response) => {
      response.writeHead(302, { location: `${elsewhere.url}/secret` }).end()
    })
    const { body } = await order(3)
    t.match(await ended(body.downloadId), { status: 'failed', error_message: /needs https/ })
    t.same(elsewhere.requests, [])
  })

  t.test('never replace a file, nor write outside the folder', async t => {
    offer(4, '../../there.safetensors', '/file/4')
    source.handlers.set('/file/4', serve)
    const { body } = await order(4)
    t.equal(body.filename, 'there.safetensors')
    t.match(await ended(body.downloadId), { status: 'failed', error_message: /there is a file there.safetensors already/ })
    t.same(await readFile(join(folder, 'there.safetensors')), safetensors({}, 1))
    for (const name of ['..\\..\\x', '/etc/passwd', 'con', '.hidden', '"><img>']) {
      const { body: { filename } } = await order(4, { filenameOverride: name })
      t.match(filename, /^[A-Za-z0-9_ -][A-Za-z0-9._ -]*\.safetensors$/, name)
      t.notMatch(filename, /^con\./i)
    }
  })

  t.test('reject formats that can run programs', async t => {
    offer(5, 'old.ckpt', '/file/5')
    t.match(await order(5), { status: 400, body: { message: /DOWNLOAD_PICKLES/ } })
    offer(5, 'page.html', '/file/5')
  })

  t.test('come from HuggingFace too', async t => {
    source.handlers.set('/owner/repo/resolve/main/sub/vae.safetensors', serve)
    const { status, body } = await service.request('POST', '/api/v1/downloads',
      { source: 'hf:owner/repo@main/sub/vae.safetensors', type: 'lora' })
    t.equal(status, 202)
    t.match(await ended(body.downloadId), { status: 'completed' })
    t.ok((await readdir(folder)).includes('vae.safetensors'))
    for (const wrong of ['hf:owner/../../x.safetensors', 'hf:owner/repo', 'https://evil.test/x.safetensors', 'hf:o/r/%2e%2e/x.safetensors']) {
      t.equal((await service.request('POST', '/api/v1/downloads', { source: wrong, type: 'lora' })).status, 400, wrong)
    }
  })

  t.test('from HuggingFace must match its hash, and must fit on the disk', async t => {
    source.handlers.set('/owner/repo/resolve/main/linked.safetensors', (_request, response) => {
      response.writeHead(302, { location: '/lfs/linked', 'x-linked-etag': `"${'e'.repeat(64)}"` }).end()
    })
    source.handlers.set('/lfs/linked', serve)
    const linked = await service.request('POST', '/api/v1/downloads', { source: 'hf:owner/repo/linked.safetensors', type: 'lora' })
    t.match(await ended(linked.body.downloadId), { status: 'failed', error_message: /should be e{64}/ })

    let sent = 0
    offer(7, 'vast.safetensors', '/file/7')
    source.handlers.set('/file/7', (_request, response) => {
      sent++
      response.writeHead(200, { 'content-length': 10 ** 15 })
      response.write(file)
    })
    const { body } = await order(7)
    t.match(await ended(body.downloadId), { status: 'failed', error_message: /not enough free space/, bytes_received: 0 })
    t.equal(sent, 1, 'and it is not tried again')
    t.same((await readdir(folder)).filter(name => /linked|vast/.test(name)), [])
  })

  t.test('can be cancelled and retried', async t => {
    offer(6, 'slow.safetensors', '/file/6')
    const reached = new Promise<void>(resolve => {
      source.handlers.set('/file/6', (_request, response) => {
        response.writeHead(200, { 'content-length': file.length })
        let sent = 0
        const timer = setInterval(() => {
          if (sent + 10 > file.length / 2) return
          response.write(file.subarray(sent, sent + 10))
          sent += 10
        }, 50)
        response.on('close', () => {
          clearInterval(timer)
          left()
        })
        resolve()
      })
    })
    let left = (): void => undefined
    const abandoned = new Promise<void>(resolve => { left = resolve })
    const listener = await listenTo(`${service.url}/api/v1/events`)
    t.teardown(listener.close)
    const { body } = await order(6)
    const id = String(body.downloadId)
    await reached
    t.equal((await service.request('DELETE', `/api/v1/downloads/queue/${id}`)).status, 200)
    t.match(await ended(id), { status: 'cancelled' })
    t.equal((await service.request('DELETE', `/api/v1/downloads/${id}`)).status, 409)
    source.handlers.set('/file/6', serve)
    t.equal((await service.request('POST', `/api/v1/downloads/${id}/retry`)).status, 200)
    t.match(await ended(id), { status: 'completed' })
    t.same(await readFile(join(folder, 'slow.safetensors')), file)
    await abandoned
    t.match((await service.request('GET', `/api/v1/downloads/${id}`)).body, { download: { status: 'completed' } },
      'the attempt that was cancelled, and had not ended, is not taken for the new one')

    const kinds = listener.events.filter(({ data }) => data.download_id === id).map(({ kind }) => kind)
    t.same(kinds.filter(kind => kind !== 'download-progress'),
      ['download-added', 'download-cancelled', 'download-added', 'download-completed'], 'listeners hear of it')
    t.ok(kinds.includes('download-progress'))
    t.match(await listener.until(({ kind, data }) => kind === 'download-completed' && data.download_id === id),
      { job_id: null, data: { filename: 'slow.safetensors', type: 'lora', status: 'completed', bytes_received: file.length } })
    t.match((await service.request('POST', '/api/v1/downloads/cleanup')).body, { deletedCount: 0 })
    t.equal((await service.request('POST', '/api/v1/downloads/cleanup', { daysToKeep: 0 })).status, 200)
    t.match((await service.request('GET', '/api/v1/downloads')).body.downloads, [], 'what ended is forgotten')
  })
})
