import type { FastifyReply, FastifyRequest } from 'fastify'
import { stringifyKeepingFloats } from '../../src/lib/exact-json.ts'
import type { Config } from '../../src/config/settings.ts'
import { clientOf } from '../../src/sdapi/clients.ts'

/** Names the server for the request. */
export const serverHeader = 'x-stablequeue-server'

/**
 * The base path before `/sdapi/v1` and the like, in the server address of clients that can set nothing else: `async`
 * for those of async-proxy, `tracker` for those of the Job Tracker.
 */
export type BasePath = 'plain' | 'async' | 'tracker'

export const basePaths: Readonly<Record<BasePath, string>> = { plain: '', async: '/async', tracker: '/tracker' }

/** The preference by which a request asks for status and job id as soon as its job is accepted. */
export const earlyPreference = 'early-job-id'

/** The way of answering a generation. */
export type AnswerMode =
  /** `early`: status and job id at once, and the rest when the job has finished. */
  | { readonly kind: 'wait' | 'early' }
  /** 202, unless the job finishes within so many seconds. */
  | { readonly kind: 'async', readonly waitSeconds: number }

/** Limit of the wait for a 202. */
const longestWaitSeconds = 3600

/** The drop-in's view of the client. */
export function clientOfRequest (request: FastifyRequest): string {
  return clientOf(request.principal, request.ip)
}

/** Alias of the server that the client or its key names; empty for the best one. */
export function targetOf (request: FastifyRequest): string {
  const { [serverHeader]: named } = request.headers
  return typeof named === 'string' && named.trim() !== '' ? named.trim() : request.principal.dropIn.server ?? ''
}

/** Facts about a request without an explicit way of answering. */
export interface AnswerSigns {
  readonly path: BasePath
  /** The bearer of AUTH_TOKEN, as async-proxy clients send it. */
  readonly byToken: boolean
  /** It has a webhook, so its client does not wait. */
  readonly byWebhook: boolean
}

/** The query decides, then the header, then the base path, then facts about the client. */
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

/** The request's own preference; null if there is none. */
export function prefersEarly ({ headers }: FastifyRequest): boolean | null {
  const said = preferencesOf(headers.prefer).get(earlyPreference)
  return said === undefined ? null : !/^(0|false|off|no)$/i.test(said)
}

/** RFC 7240, §2: names and values, separated by commas; parameters behind a semicolon are not used here. */
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
