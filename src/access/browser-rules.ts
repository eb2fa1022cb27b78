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

/** Whether a page of another origin sent this. Another port of this machine is another origin: A1111 listens there. */
function isForeign ({ headers, ownOrigins }: PageRequest): boolean {
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return true
  const origin = headers.origin
  return origin !== undefined && !ownOrigins.includes(String(origin).toLowerCase())
}

/**
 * For requests that a browser can be made to send by any page: those without credentials, or with Basic, which
 * browsers add by themselves.
 * @throws ServiceError cross_site_request
 */
export function refuseForeignPage (page: PageRequest): void {
  if (!isForeign(page)) return
  throw new ServiceError('cross_site_request',
    'A web page of another origin may not do this without an access key; send X-API-Key and X-API-Secret from an ' +
    'origin in CORS_ORIGINS')
}

/**
 * For what anybody may read: links from elsewhere may open it, and pages of the allowed origins may fetch it.
 * @throws ServiceError cross_site_request
 */
export function refuseForeignUse (page: PageRequest, allowedOrigins: readonly string[]): void {
  const { method, headers } = page
  if (safeMethods.has(method)) {
    if (headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document') return
    if (allowedOrigins.includes(String(headers.origin))) return
  }
  refuseForeignPage(page)
}

/**
 * Asks a browser for a header that no form and no page of another origin can add, before anything is changed.
 * Programs, which send neither Origin nor Sec-Fetch-Site nor Cookie, need none.
 * @throws ServiceError cross_site_request
 */
export function refuseUnmarkedChange (page: PageRequest): void {
  if (safeMethods.has(page.method) || !isFromBrowser(page) || page.headers['x-requested-with'] === 'ui') return
  throw new ServiceError('cross_site_request', 'Changes from a web page need the header X-Requested-With: ui')
}
