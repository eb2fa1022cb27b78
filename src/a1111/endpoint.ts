import { withoutTrailing } from '../lib/text.ts'
import type { ServerAddress } from './types.ts'

/** A server's address as requests need it. */
export interface Endpoint {
  /** The address on the server of one of A1111's own paths, which begin with a slash. */
  readonly urlOf: (path: string) => URL
  /** Sent with every request. */
  readonly headers: Readonly<Record<string, string>>
}

/** Throws a TypeError if `baseUrl` is no URL. */
export function endpointOf ({ baseUrl, username, password, bearer, headers: own }: ServerAddress): Endpoint {
  const url = new URL(baseUrl)
  const base = `${url.origin}${withoutTrailing(url.pathname, '/')}`
  const headers: Record<string, string> = {
    ...own,
    accept: 'application/json'
  }
  if (username !== undefined) {
    headers.authorization = `Basic ${Buffer.from(`${username}:${password ?? ''}`).toString('base64')}`
  }
  if (bearer !== undefined) headers.authorization = `Bearer ${bearer}`
  // put together as text: a path that begins with two slashes must not lead to another host
  return { urlOf: path => new URL(`${base}${path}`), headers }
}
