import type { IncomingHttpHeaders } from 'node:http'
import type { Model } from '../../fastapi/model.ts'

/** What a handler gets: its model already read, everything else as it came. */
export interface RouteInput {
  readonly body: Record<string, unknown>
  /** The body as it was, for the few routes that take a list. */
  readonly json: unknown
  readonly query: Record<string, unknown>
  readonly headers: IncomingHttpHeaders
}

const answerMark = Symbol('answer')

/** An answer that is not plain JSON with status 200; pieces of a body are made when they are sent. */
export interface Answer {
  readonly [answerMark]: true
  readonly status: number
  readonly contentType: string
  readonly body: Buffer | string | Iterable<Buffer>
  /** `cut`: announces the whole body, sends half of it and cuts the connection. */
  readonly delivery: 'whole' | 'cut'
  readonly headers: Readonly<Record<string, string>>
}

export function createAnswer (
  status: number, contentType: string, body: Answer['body'], delivery: Answer['delivery'] = 'whole',
  headers: Answer['headers'] = {}
): Answer {
  return { [answerMark]: true, status, contentType, body, delivery, headers }
}

export function isAnswer (value: unknown): value is Answer {
  return typeof value === 'object' && value !== null && answerMark in value
}

/** One route of the simulated server, independent of the HTTP framework. */
export interface Route {
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** `guarded` by --api-auth; everything outside of /sdapi/v1 (and the loras there) is `open`. */
  readonly access: 'guarded' | 'open'
  /** `pool`: a plain function that takes a thread; `loop`: a coroutine that never waits for one. */
  readonly runsIn: 'pool' | 'loop'
  /** Model of the JSON body; `object` takes any object, `any` takes anything; absent where none is read. */
  readonly body?: Model | 'object' | 'any'
  readonly query?: Model
  /** A value to answer as JSON (undefined is null), or an `Answer`. */
  readonly handle: (input: RouteInput) => Promise<unknown> | unknown
}

export function get (path: string, handle: Route['handle'], rest: Partial<Route> = {}): Route {
  return { method: 'GET', path, access: path.startsWith('/sdapi/') ? 'guarded' : 'open', runsIn: 'pool', handle, ...rest }
}

export function post (path: string, handle: Route['handle'], rest: Partial<Route> = {}): Route {
  return { method: 'POST', path, access: path.startsWith('/sdapi/') ? 'guarded' : 'open', runsIn: 'pool', handle, ...rest }
}

const reasons: Readonly<Record<number, string>> = {
  200: 'Welcome',
  302: 'Found',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Not Allowed',
  502: 'Bad Gateway',
  503: 'Service Temporarily Unavailable',
  504: 'Gateway Time-out'
}

/** What a reverse proxy shows in place of the server: HTML, not JSON. Cloudflare has statuses of its own. */
export function proxyPage (status: number, headers: Readonly<Record<string, string>> = {}): Answer {
  const html = status >= 520 ? cloudflarePage(status) : nginxPage(`${status} ${reasons[status] ?? 'Error'}`)
  return createAnswer(status, 'text/html', html, 'whole', headers)
}

function nginxPage (title: string): string {
  return `<html>\r\n<head><title>${title}</title></head>\r\n<body>\r\n<center><h1>${title}</h1></center>\r\n` +
    '<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n'
}

function cloudflarePage (status: number): string {
  return '<!DOCTYPE html>\n<!--[if lt IE 7]> <html class="no-js ie6 oldie" lang="en-US"> <![endif]-->\n' +
    `<head>\n<title>sd.example.org | ${status}: A timeout occurred</title>\n</head>\n<body>\n` +
    `<h1>A timeout occurred <span>Error code ${status}</span></h1>\n</body>\n</html>\n`
}
