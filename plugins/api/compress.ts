import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import { negotiate } from '@fastify/accept-negotiator'
import type { FastifyReply, FastifyRequest, onSendHookHandler } from 'fastify'

const quickBrotli = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } }
const compressWith = {
  br: async (body: Buffer) => await promisify(brotliCompress)(body, quickBrotli),
  gzip: async (body: Buffer) => await promisify(gzip)(body, { level: 6 })
}

/** Shorter bodies fit into a few packets anyway: clients that ask for one job again and again save nothing. */
const leastBytes = 4096

/**
 * Compresses JSON, such as lists, for clients that accept it. Its routes answer with addresses of images, not with
 * images, and streams of events have another type.
 */
export const compressJson: onSendHookHandler<unknown> = (request, reply, payload, done) => {
  const isLong = (typeof payload === 'string' || Buffer.isBuffer(payload)) && Buffer.byteLength(payload) >= leastBytes
  const isJson = isLong && /^application\/(?:[\w.-]+\+)?json\b/.test(String(reply.getHeader('content-type') ?? ''))
  if (!isJson || reply.raw.headersSent || reply.hasHeader('content-encoding')) done(null, payload)
  else compressed(request, reply, Buffer.from(payload)).then(body => { done(null, body) }, done)
}

async function compressed ({ headers }: FastifyRequest, reply: FastifyReply, body: Buffer): Promise<Buffer> {
  const vary = reply.getHeader('vary')
  reply.header('vary', vary === undefined ? 'accept-encoding' : `${String(vary)}, accept-encoding`)
  const encoding = negotiate(headers['accept-encoding'] ?? '', ['br', 'gzip']) as keyof typeof compressWith | null
  if (encoding === null) return body
  const shorter = await compressWith[encoding](body)
  reply.header('content-encoding', encoding).header('content-length', shorter.length)
  return shorter
}
