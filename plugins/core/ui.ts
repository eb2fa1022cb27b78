import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import type { FastifyPluginAsync, FastifyReply } from 'fastify'
import { isThisMachine } from '../../src/access/trust.ts'
import { hasTag } from './send-image.ts'

/** Scripts and styles from our own files only, and no sink that takes HTML as text. */
const contentSecurityPolicy = [
  "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:", "media-src 'self'", "connect-src 'self'",
  "font-src 'self'", "manifest-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"
].join('; ')

/** Files whose names do not change with their content. */
const alwaysNew = new Set(['index.html', 'service-worker.js'])

export interface UiOptions {
  /** Origin to which requests for images are redirected; null for none. */
  readonly imageOrigin: string | null
}

/**
 * The web UI: its page at `/`, its modules and styles under `/ui/`. They are open to all, because they hold no data:
 * what the page shows comes from the API, under the rules of every other caller.
 *
 * Entity tags are our own. Those of @fastify/send are weak and consist of size and time, and packages and images give
 * all files one time: a changed file of the same size would count as unchanged.
 */
const ui: FastifyPluginAsync<UiOptions> = async (app, { imageOrigin }) => {
  const policy = imageOrigin === null
    ? contentSecurityPolicy
    : contentSecurityPolicy.replace(/(?<=(?:img|media)-src 'self')/g, ` ${imageOrigin}`)
  const { folder, hashes } = await readBuild()

  app.addHook('onRoute', route => { route.config = { ...route.config, access: 'public' } })
  // @fastify/send would compare these with its own tag and time.
  app.addHook('onRequest', async ({ raw }) => {
    delete raw.headers['if-match']
    delete raw.headers['if-unmodified-since']
  })
  app.addHook('onSend', async ({ headers }, reply, payload) => {
    // RFC 9239; @fastify/send still has the former type, and sets it after `setHeaders`.
    const type = String(reply.getHeader('content-type'))
    if (type.startsWith('application/javascript')) reply.type(type.replace('application', 'text'))
    const tag = reply.getHeader('etag')
    if (reply.statusCode !== 200 || typeof tag !== 'string' || !hasTag(headers['if-none-match'], tag)) return payload
    if (payload instanceof Readable) payload.destroy()
    reply.code(304).removeHeader('content-length').removeHeader('content-encoding')
    return null
  })

  await app.register(fastifyStatic, {
    root: folder,
    serve: false,
    index: false,
    preCompressed: true,
    acceptRanges: false,
    cacheControl: false,
    etag: false,
    lastModified: false,
    setHeaders: (reply, path) => { setHeaders(reply, path) }
  })
  const page = await readFile(join(folder, 'index.html'), 'utf8')
  app.get('/', { schema: { hide: true } }, async ({ base }, reply) => {
    if (base === '') return reply.sendFile('index.html')
    // With complete paths it also works at an address without a slash at its end.
    setHeaders(reply, join(folder, 'index.html'), base.replaceAll('/', '.'))
    return reply.type('text/html; charset=utf-8').send(page.replaceAll(/ (href|src)="(?=ui\/|docs")/g, ` $1="${base}/`))
  })
  app.get<{ Params: { '*': string } }>('/ui/*', { schema: { hide: true } }, async ({ params }, reply) => {
    const name = params['*']
    const isServed = Object.hasOwn(hashes, name) && name !== 'index.html'
    return isServed ? reply.sendFile(name) : reply.callNotFound()
  })

  /**
   * @param path of the file that is sent
   * @param variant of its text
   */
  function setHeaders (reply: FastifyReply, path: string, variant = ''): void {
    const [, file = path, encoding = ''] = /^(.*)\.(gz|br)$/.exec(path) ?? []
    const name = relative(folder, file).replaceAll('\\', '/')
    reply.headers({
      // Compressed forms are other representations, so they have tags of their own.
      etag: `"${hashes[name] ?? ''}${variant}${encoding && `-${encoding}`}"`,
      // A new version must show at once, and its page names other files.
      'cache-control': alwaysNew.has(name) ? 'no-cache' : 'public, max-age=31536000, immutable',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'content-security-policy': policy
    })
    // It is below /ui, and answers for the page at /.
    if (name === 'service-worker.js') reply.header('service-worker-allowed', '/')
    // Elsewhere browsers ignore it, with an error in the console.
    const { protocol, hostname } = reply.request
    if (protocol === 'https' || isThisMachine(hostname)) reply.header('cross-origin-opener-policy', 'same-origin')
  }
}

export default ui

/** Output of src/build-web.mjs: the folder with the files, and the hash of each. */
async function readBuild (): Promise<{ folder: string, hashes: Readonly<Record<string, string>> }> {
  const builds = join(packageRoot(), 'dist/web')
  try {
    const { folder, hashes } = JSON.parse(await readFile(join(builds, 'current.json'), 'utf8'))
    return { folder: join(builds, folder), hashes }
  } catch (error) {
    throw new Error('There is no build of the web UI in dist/web: run npm run build.', { cause: error })
  }
}

/** The folder of package.json, which is further up from the build than from the sources. */
function packageRoot (): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error('There is no package.json above the program: the installation is incomplete.')
    folder = parent
  }
  return folder
}
