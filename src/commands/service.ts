import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseEnv } from 'node:util'
import { EventSourceParserStream } from 'eventsource-parser/stream'
import type { EventView } from '../../schemas/event.ts'
import { withDeadline } from '../lib/deadline.ts'
import { messageOf, UsageError } from '../lib/errors.ts'
import { parseJsonText } from '../lib/exact-json.ts'

/** How the command line names a service. */
export interface ServiceOptions {
  readonly service?: string | undefined
  /** Public half and secret of an access key, as `mk_…:secret`. */
  readonly key?: string | undefined
  readonly token?: string | undefined
}

/** A running service, and what it accepts. */
export interface ServiceAddress {
  /** Without a slash at the end. */
  readonly url: string
  /** Value of the header Authorization; null for none. */
  readonly authorization: string | null
}

/** Where the address can come from. */
export interface Surroundings {
  readonly environment: Readonly<Record<string, string | undefined>>
  /** The folder of `.env`. */
  readonly folder: string
}

/** An answer with an error status, or none at all. */
export class ServiceFailure extends Error {
  override readonly name = 'ServiceFailure'
  readonly status: number | null
  constructor (message: string, status: number | null) {
    super(message)
    this.status = status
  }
}

const configFields = ['service', 'key', 'token'] as const

/** The file with the address and the secret of a service, which need not exist. */
function configPath ({ environment }: Surroundings): string {
  const { STABLEQUEUE_CONFIG: given, XDG_CONFIG_HOME: home, APPDATA: windows } = environment
  return given || join(home || windows || join(homedir(), '.config'), 'stablequeue', 'config.json')
}

/** @throws UsageError if the file is not what it must be */
function readConfigFile (surroundings: Surroundings): ServiceOptions {
  const path = configPath(surroundings)
  if (!existsSync(path)) {
    if (!surroundings.environment.STABLEQUEUE_CONFIG) return {}
    throw new UsageError(`STABLEQUEUE_CONFIG names ${path}, but there is no such file.`)
  }
  let content: unknown
  try {
    content = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new UsageError(`${path} cannot be read as JSON: ${messageOf(error)}`)
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new UsageError(`${path} must contain an object with ${configFields.join(', ')}.`)
  }
  for (const [name, value] of Object.entries(content)) {
    if (!(configFields as readonly string[]).includes(name)) {
      throw new UsageError(`${path} has the unknown field ${name}; there are: ${configFields.join(', ')}.`)
    }
    if (typeof value !== 'string' || value === '') throw new UsageError(`${name} in ${path} must be a text.`)
  }
  return content
}

/** The service that the settings of a folder describe, as `npm start` there runs it. */
function localService ({ environment, folder }: Surroundings): ServiceOptions {
  const file = readText(join(folder, '.env'))
  const settings = { ...file === null ? {} : parseEnv(file.replace(/^\uFEFF/, '')), ...environment }
  const host = settings.HOST || '127.0.0.1'
  const reached = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  const stored = readText(join(folder, settings.DATA_DIR || 'data', 'admin-token'))?.trim()
  return {
    service: `http://${reached.includes(':') ? `[${reached}]` : reached}:${settings.PORT || '3000'}`,
    token: settings.ADMIN_TOKEN || settings.AUTH_TOKEN || stored || undefined
  }
}

function readText (path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}

/** Whether options, environment or file name a service, rather than the settings of this folder. */
export function namesService (options: ServiceOptions, surroundings: Surroundings): boolean {
  return sourcesOf(options, surroundings).some(({ service }) => service !== undefined)
}

/** What people say of a service, the most particular first. */
function sourcesOf (options: ServiceOptions, surroundings: Surroundings): ServiceOptions[] {
  return [options, fromEnvironment(surroundings), readConfigFile(surroundings)]
}

function fromEnvironment ({ environment }: Surroundings): ServiceOptions {
  return {
    service: environment.STABLEQUEUE_URL || undefined,
    key: environment.STABLEQUEUE_KEY || undefined,
    token: environment.STABLEQUEUE_TOKEN || undefined
  }
}

/**
 * The service to talk to: of the options, the environment, the config file, or else the one of this folder's settings.
 * A secret that comes from a lower source with an address of its own is not sent to another address.
 * @throws UsageError
 */
export function findService (options: ServiceOptions, surroundings: Surroundings): ServiceAddress {
  const sources = [...sourcesOf(options, surroundings), localService(surroundings)]
  for (const { key, token } of sources) {
    if (key !== undefined && token !== undefined) throw new UsageError('Give a key or a token, not both.')
    if (key !== undefined && !/^[^:]+:.+$/.test(key)) {
      throw new UsageError('A key is its public half and its secret, joined by a colon: mk_…:secret.')
    }
  }
  const url = parseUrl(sources.find(({ service }) => service !== undefined)?.service ?? '')
  const source = sources.find(({ service, key, token }) =>
    (key ?? token) !== undefined && (service === undefined || parseUrl(service) === url))
  return { url, authorization: authorizationOf(source ?? {}) }
}

/** The header Authorization for an access key with its secret, or else for a token; null for none. */
export function authorizationOf ({ key, token }: Omit<ServiceOptions, 'service'>): string | null {
  const credential = key === undefined ? token : Buffer.from(key).toString('base64')
  return credential === undefined ? null : `Bearer ${credential}`
}

function parseUrl (text: string): string {
  const url = URL.parse?.(text) ?? (URL.canParse(text) ? new URL(text) : null)
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new UsageError(`"${text}" is no address of a service, such as http://192.168.1.10:3000.`)
  }
  if (url.username !== '' || url.password !== '') {
    throw new UsageError('An address of a service contains no name and password; use --key or --token.')
  }
  return `${url.origin}${url.pathname.replace(/\/$/, '')}`
}

/** Requests to one service. Every method throws ServiceFailure if the service rejects it or does not answer. */
export interface Service {
  readonly url: string
  /** @returns the body with its exact numbers; null if there is none */
  ask (method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<unknown>
  bytes (path: string): Promise<Buffer>
  /** The complete address of a path of an answer. */
  addressOf (path: string): string
  /**
   * Events as they happen, from `lastEventId` on if given; ends when the service ends the stream or 204 says that
   * nothing more comes. Throws if the connection breaks.
   */
  events (path: string, lastEventId: string | null, signal?: AbortSignal): AsyncGenerator<EventView, 'over' | 'broken'>
}

/** How long an answer that does not wait for a job can take, in milliseconds. */
const patience = 150_000

export function connectService ({ url, authorization }: ServiceAddress): Service {
  const identity = authorization === null ? {} : { authorization }

  async function request (path: string, init: RequestInit): Promise<Response> {
    try {
      return await fetch(addressOf(path), { redirect: 'follow', ...init })
    } catch (error) {
      const reason = error instanceof Error && error.cause instanceof Error ? error.cause : error
      throw new ServiceFailure(`There is no StableQueue at ${url}: ${messageOf(reason)}. ` +
        'Start it with `stablequeue start`, or name another one with --service or STABLEQUEUE_URL.', null)
    }
  }

  function addressOf (path: string): string {
    if (URL.canParse(path)) return path
    // Paths of answers contain the prefix of a proxy already.
    const { origin, pathname } = new URL(url)
    return pathname !== '/' && path.startsWith(`${pathname}/`) ? origin + path : url + path
  }

  async function refuse (response: Response): Promise<never> {
    const text = await response.text().catch(() => '')
    const body = parsed(text)
    const sentence = typeof body?.message === 'string'
      ? body.message
      : `${url} answered with status ${response.status}${body === null && text !== '' ? '; is it a StableQueue?' : ''}.`
    const remedy = response.status === 401 ? ' Give an access key with --key, STABLEQUEUE_KEY or the config file.' : ''
    throw new ServiceFailure(sentence + remedy, response.status)
  }

  return {
    url,
    addressOf,
    async ask (method, path, body, headers = {}) {
      return await withDeadline(patience, [], async signal => {
        const response = await request(path, {
          method,
          signal,
          headers: {
            accept: 'application/json',
            ...identity,
            ...headers,
            ...body === undefined ? {} : { 'content-type': 'application/json' }
          },
          ...body === undefined ? {} : { body: JSON.stringify(body) }
        })
        if (!response.ok) return await refuse(response)
        const text = await response.text()
        if (text === '') return null
        const answer = parsed(text)
        if (answer !== null) return answer
        throw new ServiceFailure(`${url} did not answer with JSON; is it a StableQueue?`, response.status)
      })
    },
    async bytes (path) {
      return await withDeadline(patience, [], async signal => {
        const response = await request(path, { headers: identity, signal })
        if (!response.ok) return await refuse(response)
        return Buffer.from(await response.arrayBuffer())
      })
    },
    async * events (path, lastEventId, signal) {
      const response = await request(path, {
        headers: {
          accept: 'text/event-stream', ...identity, ...lastEventId === null ? {} : { 'last-event-id': lastEventId }
        },
        ...signal === undefined ? {} : { signal }
      })
      if (response.status === 204) return 'over'
      if (!response.ok || response.body === null) return await refuse(response)
      try {
        const messages = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream())
        for await (const { data } of messages) yield JSON.parse(data) as EventView
      } catch {
        // It is followed again.
      }
      return 'broken'
    }
  }
}

function parsed (text: string): { readonly [name: string]: unknown } | null {
  try {
    const value = parseJsonText(text)
    return typeof value === 'object' && value !== null ? value as { readonly [name: string]: unknown } : null
  } catch {
    return null
  }
}

/** Pauses before a service that does not answer is asked again, in milliseconds: the last one repeats. */
const pauses = [500, 1000, 2000, 5000]

/**
 * Repeats what only needs the service to be there, until it is: a restart of the service is no failure of its jobs.
 * @param onAway called once, with the reason
 */
export async function persist<Result> (
  what: () => Promise<Result>, onAway: (reason: string) => void, signal?: AbortSignal
): Promise<Result> {
  for (let tries = 0; ; tries++) {
    try {
      return await what()
    } catch (error) {
      if (!(error instanceof ServiceFailure) || isFinal(error)) throw error
      signal?.throwIfAborted()
      if (tries === 0) onAway(error.message)
      await sleep(pauses[Math.min(tries, pauses.length - 1)], undefined, signal === undefined ? {} : { signal })
    }
  }
}

/** Whether the same request would be refused again. */
function isFinal ({ status }: ServiceFailure): boolean {
  return status !== null && status < 500 && status !== 429
}
