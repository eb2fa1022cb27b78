import { createHmac, randomBytes } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { matchesToken } from './admin-token.ts'

/** Browser sessions of the web UI: a token is exchanged for a cookie, so that no page keeps the token itself. */
export interface Sessions {
  /** The cookie's value, or null when the token is none of those that are accepted. */
  readonly open: (token: string) => Promise<string | null>
  /** Whether the session is valid; a valid one is good for another idle time. */
  readonly isOpen: (session: string) => Promise<boolean>
  readonly end: (session: string) => Promise<void>
}

export interface SessionsDependencies {
  readonly redis: Redis
  readonly keys: Keys
  /** Tokens that open a session. A session ends when any of them is changed. */
  readonly tokens: readonly string[]
  readonly now?: () => number
}

const idleMs = 12 * 3_600_000
const longestMs = 7 * 24 * 3_600_000

export function createSessions ({ redis, keys, tokens, now = Date.now }: SessionsDependencies): Sessions {
  // Redis holds only hashes of sessions, made under the tokens, so that changing a token leaves none to be found.
  const seal = JSON.stringify(tokens)
  const nameOf = (session: string) =>
    keys.key('session', createHmac('sha256', seal).update(session).digest('hex'))

  return {
    async open (token) {
      if (!matchesToken(tokens, token)) return null
      const session = randomBytes(32).toString('base64url')
      await redis.set(nameOf(session), now() + longestMs, 'PX', idleMs)
      return session
    },
    async isOpen (session) {
      const end = await redis.get(nameOf(session))
      const left = Number(end ?? 0) - now()
      if (left <= 0) return false
      await redis.pexpire(nameOf(session), Math.min(idleMs, left))
      return true
    },
    async end (session) {
      await redis.del(nameOf(session))
    }
  }
}

/** The session cookie's name. Cookies are shared by all ports of a host, hence the port in it. */
export function sessionCookieName (port: number): string {
  return `sq_session_${port}`
}

/** The value of one cookie out of a Cookie header, or null. */
export function readCookie (header: string | undefined, name: string): string | null {
  for (const part of (header ?? '').split(';')) {
    const [found, value] = part.trim().split(/=(.*)/s)
    if (found === name && value !== undefined) return value
  }
  return null
}

/** A Set-Cookie header; an empty session removes the cookie. */
export function sessionCookie (name: string, session: string, protocol: string): string {
  const age = session === '' ? 0 : longestMs / 1000
  const secure = protocol === 'https' ? '; Secure' : ''
  return `${name}=${session}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${age}${secure}`
}
