import Fastify from 'fastify'
import { readdir, symlink, writeFile } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import errors from '../../plugins/core/errors.ts'
import knownPaths from '../../plugins/core/known-paths.ts'
import outputs from '../../plugins/core/outputs.ts'
import { ErrorBody } from '../../schemas/error.ts'
import { readGenerationText } from '../../src/media/generation-text.ts'
import { createMediaStore } from '../../src/media/store.ts'
import { pngWithTexts } from '../media/made-images.ts'

const image = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#36a' } }).png().toBuffer()

const parameters = 'ein Löwe 🦁 猫\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 40x24'
const withText = pngWithTexts({ parameters })

/** The route on a real socket, with one stored image that every client but `x-caller: stranger` can read. */
async function serve (t: Test, stored: Buffer = image) {
  const directory = t.testdir({ 'secret.png': image })
  const store = await createMediaStore({ directory })
  const sink = await store.createOutputSink('1f0c2a9e-4b77', 0, Date.UTC(2026, 10, 21, 9, 30))
  await sink.write(stored)
  await sink.end()
  const { name } = await sink.finished
  const app = Fastify()
  app.addSchema(ErrorBody)
  await app.register(knownPaths)
  await app.register(errors)
  await app.register(outputs, { store, links: { fits: () => false }, mayRead: async request => request.headers['x-caller'] !== 'stranger' })
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.after(async () => { await app.close() })
  const { port } = app.server.address() as AddressInfo
  /** Sends the path unchanged; fetch would normalize it. */
  const ask = async (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    await new Promise<{ status: number, headers: Record<string, unknown>, body: Buffer }>((resolve, reject) => {
      httpRequest({ port, host: '127.0.0.1', path, headers, method }, response => {
        buffer(response).then(body => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body })
        }, reject)
      }).on('error', reject).end()
    })
  return { ask, name, store, path: `/outputs/${name}`, directory }
}

t.test('an image is served complete, cacheable and harmless', async t => {
  const { ask, path, name } = await serve(t)
  const { status, headers, body } = await ask(path)
  t.equal(status, 200)
  t.ok(body.equals(image))
  t.match(headers, {
    'content-type': 'image/png',
    'content-length': String(image.length),
    'cache-control': 'private, max-age=31536000, immutable',
    'accept-ranges': 'bytes',
    'x-content-type-options': 'nosniff',
    'content-security-policy': 'default-src \'none\'; sandbox',
    'cross-origin-resource-policy': 'same-site',
    'content-disposition': `inline; filename="${name}"`,
    etag: /^"[\da-f]+-[\da-f]+"$/
  })
  const head = await ask(path, {}, 'HEAD')
  t.equal(head.status, 200)
  t.equal(head.body.length, 0)
  for (const header of ['content-type', 'content-length', 'etag', 'last-modified', 'cache-control']) {
    t.equal(head.headers[header], headers[header], `HEAD gives the same ${header}`)
  }
})

t.test('the type follows the content, whatever the name says', async t => {
  const { ask, directory } = await serve(t)
  const name = '1f0c2a9e_2026-11-21T09-30-00-000Z_7.png'
  await writeFile(join(directory, 'outputs', name), await sharp(image).webp().toBuffer())
  t.equal((await ask(`/outputs/${name}`)).headers['content-type'], 'image/webp')
})

t.test('an image comes in another format with its parameters inside, and goes with its original', async t => {
  const { ask, path, store, name, directory } = await serve(t, withText)
  for (const format of ['jpeg', 'jpg', 'webp', 'avif']) {
    const { status, headers, body } = await ask(`${path}?format=${format}&quality=60`)
    t.equal(status, 200, format)
    t.equal(headers['content-type'], format === 'jpg' ? 'image/jpeg' : `image/${format}`)
    t.equal(headers['content-disposition'], `inline; filename="${name.replace('png', format.replace('jpeg', 'jpg'))}"`)
    t.equal(await readGenerationText(body), parameters, `parameters in ${format}`)
    const { tag } = { tag: String(headers.etag) }
    t.equal((await ask(`${path}?format=${format}&quality=60`, { 'if-none-match': tag })).status, 304)
    t.equal((await ask(`${path}?format=${format}&quality=60`, { range: 'bytes=0-9' })).body.length, 10)
  }
  const [coarse, fine] = [await ask(`${path}?format=jpeg&quality=10`), await ask(`${path}?format=jpeg&quality=100`)]
  t.ok(coarse.body.length < fine.body.length, 'by quality')
  t.ok((await ask(`${path}?format=png`)).body.equals(withText), 'its own format is the image itself')
  for (const [accept, type] of [
    ['image/webp', 'image/webp'], ['image/avif;q=0.9', 'image/avif'], ['image/avif,image/webp,*/*', 'image/png'],
    ['image/*', 'image/png'], ['image/webp;q=0', 'image/png'], ['image/png', 'image/png']
  ] as const) {
    const { headers } = await ask(path, { accept })
    t.match(headers, { 'content-type': type, vary: /accept/ }, accept)
  }
  for (const [query, field] of [
    ['format=gif', 'format'], ['format=webp&quality=0', 'quality'], ['format=webp&quality=101', 'quality'],
    ['format=webp&quality=x', 'quality'], ['quality=50', 'quality'], ['format=png&quality=50', 'quality']
  ]) t.match((await ask(`${path}?${query}`)), { status: 400 }, `${query} ${field}`)
  t.equal((await ask(`${path}?format=webp`, { 'x-caller': 'stranger' })).status, 404)
  t.ok((await readdir(join(directory, 'thumbnails'))).length > 5, 'forms are kept')
  await store.removeOutput(name)
  t.same((await readdir(join(directory, 'thumbnails'))).filter(file => file.startsWith(name)), [], 'until the image goes')
  t.equal((await ask(`${path}?format=webp`)).status, 404)
})

t.test('a client that has the image already gets headers only', async t => {
  const { ask, path } = await serve(t)
  const { headers } = await ask(path)
  const tag = String(headers.etag)
  const date = String(headers['last-modified'])
  const past = new Date(0).toUTCString()
  const cases: Array<[given: Record<string, string>, status: number]> = [
    [{ 'if-none-match': tag }, 304],
    [{ 'if-none-match': `"other", W/${tag}` }, 304],
    [{ 'if-none-match': '*' }, 304],
    [{ 'if-none-match': '"other"' }, 200],
    [{ 'if-modified-since': date }, 304],
    [{ 'if-modified-since': past }, 200],
    [{ 'if-modified-since': 'yesterday' }, 200],
    [{ 'if-none-match': '"other"', 'if-modified-since': date }, 200]
  ]
  for (const [given, status] of cases) {
    for (const method of ['GET', 'HEAD']) {
      const answer = await ask(path, given, method)
      t.equal(answer.status, status, `${method} ${JSON.stringify(given)}`)
      t.equal(answer.headers.etag, tag)
      if (status === 304) t.equal(answer.body.length, 0)
    }
  }
})

t.test('a part is served if one part is requested', async t => {
  const { ask, path } = await serve(t)
  const size = image.length
  const { headers } = await ask(path)
  const cases: Array<[range: string, start: number, end: number]> = [
    ['bytes=0-0', 0, 0], ['bytes=10-19', 10, 19], ['bytes=10-', 10, size - 1], ['bytes=-5', size - 5, size - 1],
    [`bytes=0-${size * 2}`, 0, size - 1], [`bytes=-${size * 2}`, 0, size - 1]
  ]
  for (const [range, start, end] of cases) {
    const answer = await ask(path, { range })
    t.equal(answer.status, 206, range)
    t.equal(answer.headers['content-range'], `bytes ${start}-${end}/${size}`)
    t.ok(answer.body.equals(image.subarray(start, end + 1)))
  }
  for (const range of ['bytes=0-1,4-5', 'bytes=9-3', 'lines=0-1', 'bytes=-', 'bytes=a-b']) {
    t.equal((await ask(path, { range })).body.length, size, `${range} gives the whole`)
  }
  for (const range of [`bytes=${size}-`, 'bytes=-0']) {
    const answer = await ask(path, { range })
    t.equal(answer.status, 416, range)
    t.equal(answer.headers['content-range'], `bytes */${size}`)
    t.equal(JSON.parse(answer.body.toString()).error, 'range_not_satisfiable')
    t.notOk(answer.headers['cache-control'], 'an error is not kept')
  }
  const conditions = [[String(headers.etag), 206], [String(headers['last-modified']), 206], ['"other"', 200]] as const
  for (const [condition, status] of conditions) {
    t.equal((await ask(path, { range: 'bytes=0-0', 'if-range': condition })).status, status, condition)
  }
  t.equal((await ask(path, { range: 'bytes=0-0' }, 'HEAD')).headers['content-length'], String(size))
})

t.test('nothing outside the folder is served, and another client\'s image does not exist', async t => {
  const { ask, path, name, directory } = await serve(t)
  const link = '1f0c2a9e_2026-11-21T09-30-00-000Z_9.png'
  await symlink(join(directory, 'secret.png'), join(directory, 'outputs', link))
  const paths = [
    '/outputs/../secret.png', '/outputs/..%2fsecret.png', '/outputs/..%2Fsecret.png', '/outputs/%2e%2e/secret.png',
    '/outputs/%2e%2e%2fsecret.png', '/outputs/..%5csecret.png', '/outputs/..\\secret.png', '/outputs/....//secret.png',
    '/outputs/%252e%252e%252fsecret.png', '/outputs/..%c0%afsecret.png', '/outputs/%00', `${path}%00`, `${path}%00.png`,
    `/outputs/${encodeURIComponent(join(directory, 'secret.png'))}`, '/outputs//etc/passwd', '/outputs/.drafts',
    '/outputs/C:%5cwindows', `/outputs/./%2e/${name}`, `/outputs/${link}`, '/outputs/', '/outputs/%'
  ]
  for (const wrong of paths) {
    const { status, headers, body } = await ask(wrong)
    t.ok([400, 404, 414].includes(status), `${wrong} gives ${status}`)
    t.match(headers['content-type'], /^application\/json/)
    t.notOk(body.includes('IHDR'))
  }
  const foreign = await ask(path, { 'x-caller': 'stranger', 'if-none-match': '*' })
  t.equal(foreign.status, 404)
  t.equal(JSON.parse(foreign.body.toString()).error, 'image_not_found')
})
