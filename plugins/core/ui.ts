import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { dirname, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { FastifyPluginAsync } from 'fastify'
import { isThisMachine } from '../../src/access/trust.ts'

/** One file of the web UI, ready to be sent. */
export interface UiAsset {
  /** Path under which it is served. */
  readonly path: string
  readonly type: string
  /** Strong entity tags: the compressed form is another representation, so it has a tag of its own. */
  readonly plain: { readonly body: Buffer, readonly tag: string }
  readonly gzipped: { readonly body: Buffer, readonly tag: string }
}

/** What is served out of the folder `web`; anything else in it, such as pictures for README.md and docs, is not. */
const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml'
}

/** Libraries that the pages import, by the name under which they are served. */
const vendored: Readonly<Record<string, string>> = {
  'preact.js': 'preact',
  'hooks.js': 'preact/hooks',
  'htm.js': 'htm'
}

const compress = promisify(gzip)

/** Reads the web UI and its libraries once; nothing that is not among them can ever be asked for. */
async function readUiAssets (): Promise<UiAsset[]> {
  const folder = join(packageRoot(), 'web')
  const names = (await readdir(folder, { recursive: true })).map(name => name.replaceAll('\\', '/'))
  const own = names.filter(name => types[extname(name)] !== undefined).map(async name =>
    await toAsset(name === 'index.html' ? '/' : `/ui/${name}`, extname(name), await readFile(join(folder, name))))
  const libraries = Object.entries(vendored).map(async ([name, specifier]) =>
    await toAsset(`/ui/vendor/${name}`, '.js', await readLibrary(specifier)))
  return await Promise.all([...own, ...libraries])
}

async function toAsset (path: string, extension: string, body: Buffer): Promise<UiAsset> {
  const hash = createHash('sha256').update(body).digest('base64url').slice(0, 22)
  return {
    path,
    type: types[extension] ?? 'application/octet-stream',
    plain: { body, tag: `"${hash}"` },
    gzipped: { body: await compress(body, { level: 9 }), tag: `"${hash}-gzip"` }
  }
}

/** A library's module, importing the others from beside it: browsers know no package names without inline scripts. */
async function readLibrary (specifier: string): Promise<Buffer> {
  const text = await readFile(fileURLToPath(import.meta.resolve(specifier)), 'utf8')
  const names = Object.fromEntries(Object.entries(vendored).map(([name, from]) => [from, name]))
  const importing = /\bfrom\s*(["'])([^"']+)\1/g
  return Buffer.from(text
    .replace(importing, (_clause, quote: string, from: string) => `from${quote}./${names[from] ?? from}${quote}`)
    .replace(/^\/\/# sourceMappingURL=.*$/m, ''))
}

/** The folder of package.json, which lies further up from the build than from the sources. */
function packageRoot (): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error('There is no package.json above the program: the installation is incomplete.')
    folder = parent
  }
  return folder
}

/** Scripts and styles out of our own files only, and no sink that takes HTML as text. */
const contentSecurityPolicy = [
  "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:", "media-src 'self'", "connect-src 'self'",
  "font-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"
].join('; ')

/**
 * The web UI: its page at `/`, its modules and styles under `/ui/`. They are open to all, because they hold no data:
 * what the page shows comes from the API, under the rules of every other caller.
 */
const ui: FastifyPluginAsync = async app => {
  for (const { path, type, plain, gzipped } of await readUiAssets()) {
    app.get(path, { config: { access: 'public' }, schema: { hide: true } }, async (request, reply) => {
      const { body, tag } = /\bgzip\b/.test(request.headers['accept-encoding'] ?? '') ? gzipped : plain
      reply.headers({
        'content-type': type,
        etag: tag,
        vary: 'accept-encoding',
        // A new version must show at once; asking whether there is one costs next to nothing.
        'cache-control': 'no-cache',
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'content-security-policy': contentSecurityPolicy
      })
      // Elsewhere browsers ignore it, with an error in the console.
      if (request.protocol === 'https' || isThisMachine(request.hostname)) {
        reply.header('cross-origin-opener-policy', 'same-origin')
      }
      const known = (request.headers['if-none-match'] ?? '').split(',').map(name => name.trim().replace(/^W\//, ''))
      if (known.includes(tag)) return await reply.code(304).send()
      if (body === gzipped.body) reply.header('content-encoding', 'gzip')
      return body
    })
  }
}

export default ui
