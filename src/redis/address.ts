import type { RedisOptions } from 'ioredis'

/** Where a Redis is, in the terms of ioredis and of people. */
export interface RedisAddress {
  readonly options: RedisOptions
  /** The address without password, for logs and errors. */
  readonly shown: string
}

/**
 * Understands `redis://`, `rediss://`, `unix:///path/to.sock` and `redis+sentinel://host:port,host:port/group`,
 * each with `user:password@` and a database number (`/2`; for unix and sentinel `?db=2`). The address of a
 * socket may also be written `redis://localhost?path=/path/to.sock`, which ioredis itself understands.
 * @throws Error with a sentence that does not repeat the address, since that may hold a password
 */
export function parseRedisAddress (url: string): RedisAddress {
  const [, scheme, rest] = /^([a-z+]+):\/\/(.+)$/i.exec(url) ?? []
  if (rest === undefined) throw new Error(wrongAddress)
  switch (scheme?.toLowerCase()) {
    case 'redis': return parseTcp(parsed(url), {})
    case 'rediss': return parseTcp(parsed(url), { tls: {} })
    case 'unix': return parseSocket(rest)
    case 'redis+sentinel': return parseSentinel(rest)
    default: throw new Error(wrongAddress)
  }
}

const wrongAddress = 'The address of Redis must be like redis://user:password@host:6379, rediss://…, ' +
  'unix:///path/to/redis.sock or redis+sentinel://host:26379,host:26379/group.'

function parsed (url: string): URL {
  if (!URL.canParse(url)) throw new Error(wrongAddress)
  return new URL(url)
}

function parseTcp (url: URL, transport: RedisOptions): RedisAddress {
  const path = url.searchParams.get('path')
  if (path !== null) return socket(path, credentials(url))
  const host = url.hostname.replace(/^\[|\]$/g, '') || '127.0.0.1'
  const port = Number(url.port || 6379)
  const db = database(url.pathname.slice(1) || url.searchParams.get('db'))
  const options = { ...transport, host, port, ...db, ...credentials(url) }
  return { options, shown: `${url.protocol}//${url.hostname || host}:${port}` }
}

function parseSocket (rest: string): RedisAddress {
  // A URL with credentials needs a host, which a path has none of.
  const [, login = '', tail = ''] = /^([^@/]*@)?(\/.*)$/.exec(rest) ?? []
  if (tail === '') throw new Error(wrongAddress)
  const url = parsed(`redis://${login}socket${tail}`)
  return socket(decodeURIComponent(url.pathname), { ...database(url.searchParams.get('db')), ...credentials(url) })
}

function socket (path: string, options: RedisOptions): RedisAddress {
  return { options: { path, ...options }, shown: `unix://${path}` }
}

function parseSentinel (rest: string): RedisAddress {
  // Several hosts are more than a URL can hold, so the first replaces all while the rest is parsed.
  const [, login = '', hosts = '', tail = ''] = /^([^@/]*@)?([^/?]+)([/?].*|)$/.exec(rest) ?? []
  const url = parsed(`redis://${login}sentinel${tail}`)
  const name = decodeURIComponent(url.pathname.slice(1))
  if (name === '') throw new Error(wrongAddress)
  const sentinels = hosts.split(',').map(host => parsed(`redis://${host}`)).map(({ hostname, port }) => (
    { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 26379) }
  ))
  const options = { sentinels, name, ...database(url.searchParams.get('db')), ...credentials(url) }
  return { options, shown: `redis+sentinel://${hosts}/${name}` }
}

function database (text: string | null): RedisOptions {
  if (text === null || text === '') return {}
  if (!/^\d+$/.test(text)) throw new Error(wrongAddress)
  return { db: Number(text) }
}

function credentials (url: URL): RedisOptions {
  const username = decodeURIComponent(url.username)
  const password = decodeURIComponent(url.password)
  return { ...(username && { username }), ...(password && { password }) }
}
