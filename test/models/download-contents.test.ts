import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import t from 'tap'
import { safeFilename } from '../../src/models/download-service.ts'
import { startService, type JsonBody } from '../helper.ts'
import { folderWith, safetensors } from './files.ts'
import { type Handler, startSource } from './source.ts'

const shaOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const fileOf = (seed: number) => Buffer.concat([safetensors({}, seed), Buffer.alloc(800_000, seed)])

t.test('a download is the promised file, or a clear failure', async t => {
  const { url, handlers } = await startSource(t)
  const folder = await folderWith(t, {})
  const service = await startService(t, {
    settings: { LORA_DIR: folder, CIVITAI_BASE_URL: `${url}/api/v1`, CIVITAI_INTERVAL_SECONDS: '0.01', HUGGINGFACE_BASE_URL: url }
  })

  /** Offers a version at Civitai whose file gets these answers, one per request, the last one for all others. */
  function offer (id: number, name: string, hash: string | null, ...answers: Handler[]): void {
    const file = {
      name, type: 'Model', primary: true, downloadUrl: `${url}/file/${id}`, hashes: hash === null ? {} : { SHA256: hash.toUpperCase() }
    }
    offerFiles(id, [file], ...answers)
  }

  function offerFiles (id: number, files: object[], ...answers: Handler[]): void {
    handlers.set(`/api/v1/model-versions/${id}`, (_request, response) => {
      response.end(JSON.stringify({ id, modelId: 11, baseModel: 'SDXL 1.0', trainedWords: ['w'], model: { name: 'M', type: 'LORA' }, files }))
    })
    let times = 0
    handlers.set(`/file/${id}`, (request, response) => { answers[Math.min(times++, answers.length - 1)]?.(request, response) })
  }

  /** Ends the connection in the middle. */
  // So much that the reader falls behind: what it has not read when the connection breaks, up to 128 KiB, is lost.
  const half = (bytes: Buffer, headers: Record<string, string>): Handler => (_request, response) => {
    response.writeHead(200, { 'content-length': bytes.length, ...headers })
    response.write(bytes.subarray(0, 500_000), () => response.destroy())
  }
  const whole = (bytes: Buffer, headers: Record<string, string> = {}): Handler => (_request, response) => {
    response.writeHead(200, { 'content-length': bytes.length, ...headers }).end(bytes)
  }
  /** Continues at any requested position, whatever was sent before. */
  const rest = (bytes: Buffer, headers: Record<string, string> = {}): Handler => (request, response) => {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
    if (from === 0) return whole(bytes, headers)(request, response)
    response.writeHead(206, {
      'content-length': bytes.length - from, 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}`, ...headers
    }).end(bytes.subarray(from))
  }

  async function done (body: unknown, path = '/api/v1/civitai/download-model'): Promise<JsonBody> {
    const { status, body: { downloadId } } = await service.request('POST', path, body)
    t.equal(status, 202)
    for (;;) {
      const download = (await service.request('GET', `/api/v1/downloads/${String(downloadId)}`)).body.download as JsonBody
      if (['completed', 'failed'].includes(String(download.status))) return download
      await new Promise(resolve => { setTimeout(resolve, 20) })
    }
  }
  const download = async (id: number) => await done({ civitaiModelVersionId: id })
  const kept = async (name: string) => shaOf(await readFile(join(folder, name)))
  const parts = async () => (await readdir(folder)).filter(name => name.includes('.part'))

  t.test('if the file changed between two attempts', async t => {
    const [before, after] = [fileOf(1), fileOf(2)]
    offer(1, 'asked.safetensors', null, half(before, { etag: '"one"' }), (request, response) => {
      t.match(request.headers, { 'if-range': '"one"', range: /^bytes=[1-9]/ })
      whole(after, { etag: '"two"' })(request, response)
    })
    offer(2, 'deaf.safetensors', null, half(before, { etag: '"one"' }), rest(after, { etag: '"two"' }))
    offer(3, 'silent.safetensors', null, half(before, {}), rest(after))
    offer(4, 'hashed.safetensors', shaOf(after), half(before, {}), rest(after))
    const short = (_request: IncomingMessage, response: ServerResponse) => {
      response.writeHead(416, { 'content-range': 'bytes */90000' }).end()
    }
    offer(5, 'shorter.safetensors', null, half(before, { etag: '"one"' }), short, whole(after, { etag: '"two"' }))
    const ends = await Promise.all([1, 2, 3, 4, 5].map(download))
    t.same(ends.map(({ status }) => status), ends.map(() => 'completed'))
    for (const name of ['asked', 'deaf', 'silent', 'hashed', 'shorter']) {
      t.equal(await kept(`${name}.safetensors`), shaOf(after), name)
    }
    t.same(await parts(), [])
  })

  t.test('if a login is required', async t => {
    const page = Buffer.from('<!doctype html><title>Sign in</title>')
    offer(10, 'led.safetensors', null, (_request, response) => { response.writeHead(302, { location: '/login?returnUrl=x' }).end() })
    offer(11, 'page.safetensors', null, whole(page, { 'content-type': 'text/html; charset=utf-8' }))
    offer(12, 'disguised.safetensors', null, whole(page))
    offer(13, 'early.safetensors', null, (_request, response) => {
      response.writeHead(403, { 'content-type': 'application/json' })
        .end(JSON.stringify({ error: 'Forbidden', message: 'This file is in early access until May.' }))
    })
    for (const id of [10, 11, 12]) t.match(await download(id), { status: 'failed', error_message: /a key is needed: set CIVITAI_API_KEY/ })
    t.match(await download(13), { status: 'failed', error_message: /403: This file is in early access until May; .*CIVITAI_API_KEY/ })
    handlers.set('/o/r/resolve/main/x.safetensors', (_request, response) => { response.writeHead(401).end() })
    t.match(await done({ source: 'hf:o/r/x.safetensors', type: 'lora' }, '/api/v1/downloads'),
      { status: 'failed', error_message: /HUGGINGFACE_TOKEN/ })
    t.same((await readdir(folder)).filter(name => /led|page|disguised|early|^x/.test(name)), [])
  })

  t.test('if the content is not such a file', async t => {
    offer(20, 'noise.safetensors', null, whole(Buffer.alloc(5000, 7)))
    offer(21, 'cut.safetensors', null, whole(safetensors({}, 1).subarray(0, -10)))
    t.match(await download(20), { status: 'failed', error_message: /no header of a \.safetensors file/ })
    t.match(await download(21), { status: 'failed', error_message: /header needs \d+ bytes, but \d+ arrived/ })
    t.same(await parts(), [])
  })

  t.test('if a connection without a length is lost', async t => {
    const bytes = safetensors({}, 5)
    const cut: Handler = (request, response) => {
      response.sendDate = false
      request.socket.end(Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n'), bytes.subarray(0, -20)]))
    }
    offer(30, 'lost.safetensors', shaOf(bytes), cut, whole(bytes))
    t.match(await download(30), { status: 'completed' })
    t.equal(await kept('lost.safetensors'), shaOf(bytes))
  })

  t.test('if it is training data before the model', async t => {
    const bytes = fileOf(6)
    offerFiles(40, [
      { name: 'images.zip', type: 'Training Data', primary: true, downloadUrl: `${url}/file/nothing`, hashes: {} },
      { name: 'model.safetensors', type: 'Model', downloadUrl: `${url}/file/40`, hashes: { SHA256: shaOf(bytes) } }
    ], whole(bytes))
    t.match(await download(40), { status: 'completed' })
    t.equal(await kept('model.safetensors'), shaOf(bytes))
  })

  t.test('under its own name, with Civitai\'s data for each that ends at the same time', async t => {
    const names = ['水墨風', 'Ёлка и снег', 'été (v1.2) [fp16] + more', '여름']
    names.forEach((name, index) => { offer(50 + index, `${name}.safetensors`, shaOf(fileOf(50 + index)), whole(fileOf(50 + index))) })
    const ends = await Promise.all(names.map(async (_name, index) => await download(50 + index)))
    t.same(ends.map(({ status }) => status), names.map(() => 'completed'))
    for (const [index, name] of names.entries()) {
      const { body } = await service.request('GET', `/api/v1/models/${encodeURIComponent(`${name}.safetensors`)}`)
      t.match(body.model, { civitai_version_id: 50 + index, trigger_words: ['w'] }, name)
      t.equal(await kept(`${name}.safetensors`), shaOf(fileOf(50 + index)))
    }
    handlers.set('/o/r/resolve/main/sub/水墨風-2.safetensors', whole(fileOf(60)))
    t.match(await done({ source: 'hf:o/r/sub/水墨風-2.safetensors', type: 'lora' }, '/api/v1/downloads'), { status: 'completed' })
  })
})

t.test('a name loses only characters that file systems forbid', async t => {
  const name = (proposed: string) => safeFilename(proposed, 'x.safetensors', 'refused')
  t.equal(name('a<b>:"c|d?*e.safetensors'), 'a_b_c_d_e.safetensors')
  t.equal(name('..\\..\\水墨風.safetensors'), '水墨風.safetensors')
  t.equal(name('con'), 'model-con.safetensors')
  t.equal(name('turned\u202etxt'), 'turned_txt.safetensors')
  t.ok(Buffer.byteLength(name('水'.repeat(300))) <= 220, 'what lies beside it has a longer name')
  t.equal(name('e\u0301te\u0301'), 'été.safetensors')
})
