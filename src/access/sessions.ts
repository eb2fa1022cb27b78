import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import type { Keys } from '../lib/keys.ts'
import { readOrCreateSecretFile } from '../lib/secret-file.ts'
import type { AccessKeys, KeySignIn } from './keys.ts'
import { administrator, type Principal } from './principal.ts'
import { deriveKey } from './secrets.ts'

export interface AdminToken {
  readonly token: string
  /** Its file, or null if the setting ADMIN_TOKEN gives it. */
  readonly file: string | null
  /** True on the one start that created it. */
  readonly created: boolean
}

export interface AdminTokenSettings {
  readonly ADMIN_TOKEN: string
  readonly DATA_DIR: string
}

/**
 * The admin token of the settings, or of DATA_DIR/admin-token, which is created on the first start.
 * @param masterKey of the settings; a new token follows from it, so processes with folders of their own have the same
 */
export async function loadAdminToken (
  settings: AdminTokenSettings, masterKey: Buffer | null = null
): Promise<AdminToken> {
  if (settings.ADMIN_TOKEN !== '') return { token: settings.ADMIN_TOKEN, file: null, created: false }
  const file = join(settings.DATA_DIR, 'admin-token')
  const { value, created } = await readOrCreateSecretFile(file, () =>
    (masterKey === null ? randomBytes(32) : deriveKey(masterKey, 'admin-token')).toString('base64url'))
  return { token: value, file, created }
}

/**
 * Message for the operator at start. It has the token only if that was just created, as a link whose fragment stays in
 * the browser: it reaches no server, proxy or access log.
 * @param address the service's own address, such as http://192.168.1.20:3000
 */
export function adminTokenNotice ({ token, file, created }: AdminToken, address: string): string {
  if (file === null) return `Web UI: ${address}/ asks for the token of ADMIN_TOKEN`
  return created
    ? `Web UI: ${address}/#token=${token} (shown only once; the token is kept in ${file})`
    : `Web UI: ${address}/ asks for the token kept in ${file}`
}

/** True if the text equals one of the tokens, in a time that reveals nothing about them. Empty tokens never match. */
export function matchesToken (tokens: readonly string[], text: string): boolean {
  const given = digest(text)
  return tokens.reduce((found, token) => (timingSafeEqual(digest(token), given) && token !== '') || found, false)
}

function digest (text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

/** Browser sessions of the web UI: a token is exchanged for a cookie, so that no page keeps the token itself. */
export interface Sessions {
  /** The cookie's value, or null if the token is not accepted. */
  readonly open: (token: string) => Promise<string | null>
  /** Whether the session is valid; a valid one is extended by the idle time. */
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
  // Redis holds only hashes of sessions, keyed by the tokens, so that changing a token invalidates them.
  const seal = JSON.stringify(tokens)
  const nameOf = (session: string) =>
    keys.key('session', createHmac('sha256', seal).update(session).digest('hex'))

  return {
    async open (token) {
      if (!matchesToken(tokens, token)) return null
      const session = newSession()
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

/** The same for access keys. Such a session ends with its key, and when the key gets another secret. */
export interface KeySessions {
  /** The cookie's value, or null if the credentials are wrong or the key is switched off. */
  readonly open: (key: string, secret: string) => Promise<string | null>
  /** The present holder of a valid session, which is extended by the idle time; null if it is over. */
  readonly holder: (session: string) => Promise<Principal | null>
  readonly end: (session: string) => Promise<void>
}

export interface KeySessionsDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly accessKeys: Pick<AccessKeys, 'signIn' | 'signedIn'>
  readonly now?: () => number
}

/** Distinguishes the cookies of access keys, also once their session is over. */
const ofKey = 'key.'

/** Whether a session, open or over, is of an access key: then its holder stays out until somebody signs in again. */
export function isKeySession (session: string): boolean {
  return session.startsWith(ofKey)
}

interface StoredKeySession extends Omit<KeySignIn, 'until'> {
  readonly end: number
}

export function createKeySessions ({ redis, keys, accessKeys, now = Date.now }: KeySessionsDependencies): KeySessions {
  const nameOf = (session: string) => keys.key('key-session', createHash('sha256').update(session).digest('hex'))

  return {
    async open (key, secret) {
      const signIn = await accessKeys.signIn(key, secret)
      if (signIn === null) return null
      const { until, ...proof } = signIn
      const end = now() + longestMs
      const stored: StoredKeySession = { ...proof, end: Math.min(end, until ?? end) }
      const session = ofKey + newSession()
      await redis.set(nameOf(session), JSON.stringify(stored), 'PX', idleMs)
      return session
    },
    async holder (session) {
      const text = await redis.get(nameOf(session))
      if (text === null) return null
      const { end, ...proof } = JSON.parse(text) as StoredKeySession
      const left = end - now()
      const holder = left <= 0 ? null : await accessKeys.signedIn(proof)
      if (holder !== null) await redis.pexpire(nameOf(session), Math.min(idleMs, left))
      return holder
    },
    async end (session) {
      await redis.del(nameOf(session))
    }
  }
}

function newSession (): string {
  return randomBytes(32).toString('base64url')
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
export function sessionCookie (
  name: string, session: string, { protocol, cookiePath }: { readonly protocol: string, readonly cookiePath: string }
): string {
  const age = session === '' ? 0 : longestMs / 1000
  const secure = protocol === 'https' ? '; Secure' : ''
  return `${name}=${session}; Path=${cookiePath}; HttpOnly; SameSite=Strict; Max-Age=${age}${secure}`
}

/** Replace credentials once, for connections on which browsers can set no headers: EventSource and WebSocket. */
export interface Tickets {
  readonly issue: (principal: Principal) => Promise<{ ticket: string, expiresAt: number }>
  /** The principal it was issued to, with its present rights; null if it was used, is too old or was never issued. */
  readonly redeem: (ticket: string) => Promise<Principal | null>
}

export interface TicketsDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly accessKeys: Pick<AccessKeys, 'holder'>
}

/** Life of an unused ticket, in milliseconds. */
const goodForMs = 60_000

type Holder = Pick<Principal, 'kind' | 'keyId' | 'rotations'>

export function createTickets ({ redis, keys, accessKeys }: TicketsDependencies): Tickets {
  // Redis holds only hashes: a reader of Redis gets no ticket.
  const nameOf = (ticket: string) => keys.key('ticket', createHash('sha256').update(ticket).digest('hex'))

  return {
    async issue ({ kind, keyId, rotations }) {
      const ticket = randomBytes(32).toString('base64url')
      const holder: Holder = { kind, keyId, rotations }
      await redis.set(nameOf(ticket), JSON.stringify(holder), 'PX', goodForMs)
      return { ticket, expiresAt: Date.now() + goodForMs }
    },
    async redeem (ticket) {
      const text = await redis.getdel(nameOf(ticket))
      if (text === null) return null
      const { kind, keyId, rotations } = JSON.parse(text) as Holder
      if (keyId !== null) {
        const holder = await accessKeys.holder(keyId)
        return holder?.rotations === rotations ? { ...holder, kind } : null
      }
      return kind === 'token' || kind === 'local' || kind === 'session' ? administrator(kind) : null
    }
  }
}
