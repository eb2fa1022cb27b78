import type { A1111Client } from './client.ts'
import { isMissing, isOfOneRoute } from './failures.ts'
import { fieldsOf } from './json-values.ts'
import { GenerationFailure, routeOf } from './types.ts'

/** Which of the routes that only take POST a server has. */
export interface ServerRoutes {
  readonly interrupt: boolean
  readonly img2img: boolean
  /** Routes that work is sent to and that it says it has not got. */
  readonly missing: readonly string[]
}

/** What is taken for granted until it is known. */
export const usualRoutes: ServerRoutes = { interrupt: true, img2img: true, missing: [] }

const interruptRoute = '/sdapi/v1/interrupt'
/** Where jobs and calls in turn with them are sent. */
const workRoutes = [
  routeOf('txt2img'), routeOf('img2img'), routeOf('extras'), '/sdapi/v1/extra-single-image', '/sdapi/v1/interrogate',
  '/controlnet/detect'
]

/**
 * To be read once per start, and not before that is over: FastAPI makes its document when it is first asked for and
 * keeps it as it was then. Servers without one are asked for each route by GET, which some write into their logs.
 */
export async function readRoutes (client: A1111Client): Promise<ServerRoutes> {
  const listed = await readDocument(client)
  const paths = [...new Set([interruptRoute, routeOf('img2img'), ...workRoutes])]
  const offers = await Promise.all(paths.map(async path =>
    listed === null ? await offersPost(client, path) : listed.has(path)))
  const offered = new Set(paths.filter((_path, index) => offers[index]))
  const missing = workRoutes.filter(path => !offered.has(path))
  // What denies both ways of drawing only knows its routes together with their methods, so it says nothing.
  const isMute = [routeOf('txt2img'), routeOf('img2img')].every(path => missing.includes(path))
  return {
    interrupt: offered.has(interruptRoute),
    img2img: offered.has(routeOf('img2img')),
    missing: isMute ? [] : missing
  }
}

/** Long parts of the document, which say nothing of what is there. */
const leaveOut = ['components', 'parameters', 'requestBody', 'responses']

/** The paths that take POST; null where there is no such document, or it is about something else. */
async function readDocument (client: A1111Client): Promise<Set<string> | null> {
  try {
    const { paths } = fieldsOf(await client.readJson('/openapi.json', { timeoutMs: 15_000, leaveOut }))
    const taking = Object.entries(fieldsOf(paths)).filter(([, methods]) => 'post' in fieldsOf(methods))
    const listed = new Set(taking.map(([path]) => path))
    return listed.has(routeOf('txt2img')) ? listed : null
  } catch (error) {
    const isOfDocument = isMissing(error) || isOfOneRoute(error) ||
      (error instanceof GenerationFailure && error.code === 'answer_timeout')
    if (isOfDocument) return null
    throw error
  }
}

/**
 * A1111 answers GET with 405 where it only takes POST, and with 404 where there is nothing. What else keeps GET away
 * says nothing about POST.
 */
async function offersPost (client: A1111Client, path: string): Promise<boolean> {
  try {
    await client.readJson(path)
    return true
  } catch (error) {
    if (isMissing(error)) return error instanceof GenerationFailure && error.code === 'method_not_allowed'
    if (isOfOneRoute(error)) return true
    throw error
  }
}
