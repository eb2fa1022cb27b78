import type { ServerAddress } from './types.ts'

/** A server's address as requests need it. */
export interface Endpoint {
  readonly origin: string
  readonly urlOf: (path: string) => URL
  /** The path on the server for one of A1111's own paths, which begin with a slash. */
  readonly pathOf: (path: string) => string
  /** Sent with every request. */
  readonly headers: Readonly<Record<string, string>>
}

/** Throws a TypeError if `baseUrl` is no URL. */
export function endpointOf ({ baseUrl, username, password }: ServerAddress): Endpoint {
  const url = new URL(baseUrl)
  const prefix = url.pathname.replace(/\/+$/, '')
  const headers: Record<string, string> = {
    accept: 'application/json',
    // A1111 would gzip base64 images, which costs it far more time than it saves on the wire
    'accept-encoding': 'identity'
  }
  if (username !== undefined) {
    headers.authorization = `Basic ${Buffer.from(`${username}:${password ?? ''}`).toString('base64')}`
  }
  const pathOf = (path: string) => `${prefix}${path}`
  return { origin: url.origin, pathOf, urlOf: path => new URL(pathOf(path), url.origin), headers }
}
