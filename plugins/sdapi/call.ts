import type { FastifyReply, FastifyRequest } from 'fastify'
import { stringifyKeepingFloats } from '../../src/lib/exact-json.ts'
import type { Config } from '../../src/config/settings.ts'
import { callerOf } from '../../src/sdapi/callers.ts'

/** Names the server that is to take the request. */
export const serverHeader = 'x-stablequeue-server'

/**
 * The base path before `/sdapi/v1` and the like, which clients that can set nothing else have in the address of their
 * server: `async` for those of async-proxy, `tracker` for those of the Job Tracker.
 */
export type BasePath = 'plain' | 'async' | 'tracker'

export const basePaths: Readonly<Record<BasePath, string>> = { plain: '', async: '/async', tracker: '/tracker' }

/** The preference by which a request asks for status and job id as soon as its job is accepted. */
export const earlyPreference = 'early-job-id'

/** How a generation is to be answered. */
export type AnswerMode =
  /** `early`: with status and job id at once, and the rest when the job has ended. */
  | { readonly kind: 'wait' | 'early' }
  /** 202, unless the job ends within so many seconds. */
  | { readonly kind: 'async', readonly waitSeconds: number }

/** Nobody waits longer for a 202. */
const longestWaitSeconds = 3600

/** Who the drop-in takes the caller for. */
export function callerOfRequest (request: FastifyRequest): string {
  return callerOf(request.principal, request.ip)
}

/** Alias of the server that the caller or its key names; empty for whichever is best. */
export function targetOf (request: FastifyRequest): string {
  const { [serverHeader]: named } = request.headers
  return typeof named === 'string' && named.trim() !== '' ? named.trim() : request.principal.dropIn.server ?? ''
}

/** What a request is known by that does not say by itself how it wants to be answered. */
export interface AnswerSigns {
  readonly path: BasePath
  /** The bearer of AUTH_TOKEN, as async-proxy clients send it. */
  readonly byToken: boolean
  /** A webhook is named, which only somebody has who does not wait. */
  readonly byWebhook: boolean
}

/** The query decides, then the header, then the base path, then what the client is known by. */
export function answerMode (
  request: FastifyRequest, signs: AnswerSigns, settings: Pick<Config, 'SDAPI_EARLY_JOB_ID' | 'TRACKER_ENABLED'>
): AnswerMode {
  const preferences = preferencesOf(request.headers.prefer)
  const { dropIn } = request.principal
  if (!wantsAsync()) return { kind: isEarly() ? 'early' : 'wait' }
  const seconds = Number(preferences.get('wait') ?? 0)
  return { kind: 'async', waitSeconds: Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), longestWaitSeconds) : 0 }

  function wantsAsync (): boolean {
    const { async: asked } = request.query as { async?: string }
    if (asked === '0' || asked === 'false') return false
    if (asked !== undefined || preferences.has('respond-async')) return true
    if (signs.path !== 'plain') return signs.path === 'async'
    return signs.byWebhook || signs.byToken || dropIn.answer === 'async'
  }

  function isEarly (): boolean {
    const { SDAPI_EARLY_JOB_ID: whom, TRACKER_ENABLED: hasIds } = settings
    if (whom !== 'asked') return whom === 'on'
    return hasIds && (prefersEarly(request) ?? (signs.path === 'tracker' || dropIn.earlyJobId))
  }
}

/** What the request says by itself; null where it says nothing. */
export function prefersEarly ({ headers }: FastifyRequest): boolean | null {
  const said = preferencesOf(headers.prefer).get(earlyPreference)
  return said === undefined ? null : !/^(0|false|off|no)$/i.test(said)
}

/** RFC 7240, §2: names and values, parted by commas; parameters behind a semicolon are not used here. */
function preferencesOf (header: string | string[] | undefined): Map<string, string> {
  const text = Array.isArray(header) ? header.join(',') : header ?? ''
  return new Map(text.split(',').map(part => {
    const [name = '', value = ''] = (part.split(';')[0] ?? '').split('=')
    return [name.trim().toLowerCase(), value.trim().replace(/^"|"$/g, '')]
  }))
}

/** Whether it is a client of async-proxy, all of which send its one token. The token itself was checked before. */
export function isProxyClient (request: FastifyRequest, { AUTH_TOKEN: token }: Pick<Config, 'AUTH_TOKEN'>): boolean {
  return token !== '' && request.headers.authorization?.trim() === `Bearer ${token}`
}

/** Fastify sends nothing at all for null, where A1111 says `null`. */
export function sendJson (reply: FastifyReply, value: unknown): FastifyReply {
  return reply.type('application/json').serializer((payload: unknown) => String(payload)).send(stringifyKeepingFloats(value))
}
