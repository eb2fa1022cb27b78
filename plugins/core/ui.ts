import type { FastifyPluginAsync } from 'fastify'
import { isThisMachine } from '../../src/access/trust.ts'
import { readUiAssets } from './ui-assets.ts'

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
