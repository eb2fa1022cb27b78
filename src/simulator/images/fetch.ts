import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { withDeadline } from '../../lib/deadline.ts'
import { HttpException } from '../../fastapi/errors.ts'
import type { Options } from '../options.ts'
import { readBase64 } from './pixels.ts'

/**
 * The bytes of an image field that can also hold an address.
 *
 * @throws HttpException 500
 */
export async function readSource (options: Options, text: string): Promise<Buffer> {
  return /^https?:\/\//.test(text) ? await fetchImage(options, text) : readBase64(text)
}

/**
 * Fetches an image by address, if A1111's two options allow it.
 *
 * @throws HttpException 500 if they do not, or for an answer that is no image
 */
async function fetchImage (options: Options, address: string): Promise<Buffer> {
  if (options.get('api_enable_requests') !== true) throw new HttpException(500, 'Requests not allowed')
  if (options.get('api_forbid_local_requests') === true && !await isGlobal(new URL(address).hostname)) {
    throw new HttpException(500, 'Request to local resource not allowed')
  }
  try {
    return await withDeadline(30_000, [], async signal => {
      const answer = await fetch(address, { signal })
      return Buffer.from(await answer.arrayBuffer())
    })
  } catch {
    throw new HttpException(500, 'Invalid image url')
  }
}

async function isGlobal (host: string): Promise<boolean> {
  const bare = host.replace(/^\[|\]$/g, '')
  const addresses = isIP(bare) > 0 ? [{ address: bare }] : await lookup(bare, { all: true }).catch(() => [])
  return addresses.length > 0 && addresses.every(({ address }) => !isLocal(address))
}

function isLocal (address: string): boolean {
  return /^(0|10|127|169\.254|192\.168|172\.(1[6-9]|2\d|3[01])|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7]))\./.test(address) ||
    /^(::1?$|fe80:|f[cd])/i.test(address)
}
