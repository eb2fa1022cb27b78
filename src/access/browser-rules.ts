import { ServiceError } from '../errors.ts'
import type { RequestHeaders } from './credentials.ts'

/** A request as far as it matters whether a web page, and which, had a browser send it. */
export interface PageRequest {
  readonly method: string
  readonly headers: RequestHeaders
  /** Origins under which this service is reached, such as http://localhost:3000. */
  readonly ownOrigins: readonly string[]
}

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Every browser that has fetch metadata sends Sec-Fetch-Site with it. The other Sec-Fetch headers say nothing:
 * Node's own fetch sends Sec-Fetch-Mode.
 */
function isFromBrowser ({ headers }: PageRequest): boolean {
  return ['sec-fetch-site', 'origin', 'cookie'].some(name => headers[name] !== undefined)
}

/** Another port of this machine is another origin too: A1111's pages come from there. */
function isForeign ({ headers, ownOrigins }: PageRequest, friends: readonly string[]): boolean {
  const origin = headers.origin === undefined ? null : String(headers.origin).toLowerCase()
  if (origin !== null && friends.includes(origin)) return false
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return true
  return origin !== null && !ownOrigins.includes(origin)
}

/**
 * For requests that any page can make a browser send: those without credentials, or with Basic, which browsers
 * add by themselves.
 * @param friends other origins whose pages may send this
 * @throws ServiceError cross_site_request
 */
export function refuseForeignPage (page: PageRequest, friends: readonly string[]): void {
  if (!isForeign(page, friends)) return
  throw new ServiceError('cross_site_request',
    'A web page of another origin cannot do this without an access key: its origin must be in CORS_ORIGINS, and ' +
    'it must send X-API-Key and X-API-Secret')
}

/** Somebody follows a link from elsewhere to a page of ours. */
export function isNavigation ({ method, headers }: PageRequest): boolean {
  return method === 'GET' && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document'
}

export function isSafe ({ method }: PageRequest): boolean {
  return safeMethods.has(method)
}

/**
 * Asks a browser for a header that no form and no page of another origin can add, before anything is changed.
 * Programs, which send neither Origin nor Sec-Fetch-Site nor Cookie, need none.
 * @throws ServiceError cross_site_request
 */
export function refuseUnmarkedChange (page: PageRequest): void {
  if (isSafe(page) || !isFromBrowser(page) || page.headers['x-requested-with'] === 'ui') return
  throw new ServiceError('cross_site_request', 'Changes from a web page need the header X-Requested-With: ui')
}
