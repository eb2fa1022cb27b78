import { fieldsOf, type JsonObject, textOf } from '../lib/json-values.ts'
import type { A1111Client } from './client.ts'
import { isMissing, isOfOneRoute } from './failures.ts'
import type { Sight } from './kinds/kind.ts'
import { recogniseKind, rulesOf } from './kinds/registry.ts'
import { GenerationFailure, routeOf, type ServerTraits } from './types.ts'

/** Which of the routes that only take POST a server has. */
export interface ServerRoutes {
  readonly interrupt: boolean
  readonly img2img: boolean
  /** Routes that work is sent to and that it says it has not got. */
  readonly missing: readonly string[]
}

/** What is taken for granted until it is known. */
const defaultRoutes: ServerRoutes = { interrupt: true, img2img: true, missing: [] }

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

/**
 * Finds out what listens at an address, by calls that change nothing and wait for no generation.
 *
 * A1111's version is not asked for: the routes that tell it are slow (`sysinfo`) or leak (`cmd-flags`). The answer to a
 * generation tells it.
 *
 * @param routes as they were read once; looking for them each time would fill the server's log
 * @throws GenerationFailure: `unauthorized`, `route_missing` if there is no A1111 API, and whatever keeps a call
 *   from being answered
 */
export async function probeServer (client: A1111Client, routes: ServerRoutes = defaultRoutes): Promise<ServerTraits> {
  try {
    return await probe(client, routes)
  } catch (error) {
    throw error instanceof GenerationFailure ? await client.explain(error) : error
  }
}

async function probe (client: A1111Client, routes: ServerRoutes): Promise<ServerTraits> {
  // first alone: it tells whether anybody is there and lets us in
  const options = fieldsOf(await client.readJson('/sdapi/v1/options'))
  const [about, progress, taskProgress] = await Promise.all([
    answerOf(client.readJson('/simulator/about')),
    answerOf(client.readJson('/sdapi/v1/progress?skip_current_image=true')),
    answerOf(client.postJson('/internal/progress', { id_task: 'stablequeue-probe', live_preview: false }))
  ])
  const kind = kindOf(about, { options, progress, taskProgress })
  const { readVersion } = rulesOf(kind)
  return {
    ...kind,
    version: textOf(about?.version) ?? await readVersion?.(client).catch(() => null) ?? null,
    capabilities: {
      progress: progress !== null && 'progress' in progress,
      taskProgress: taskProgress !== null && 'active' in taskProgress,
      interrupt: routes.interrupt,
      img2img: routes.img2img
    },
    loadedCheckpoint: textOf(options.sd_model_checkpoint)
  }
}

function kindOf (about: JsonObject | null, sight: Sight): Pick<ServerTraits, 'kind' | 'simulates'> {
  const dialect = recogniseKind(sight)
  return about?.simulator === true ? { kind: 'simulator', simulates: dialect } : { kind: dialect }
}

/** The answer; null where that route is not there or not for us, or answers with anything but JSON. */
async function answerOf (call: Promise<unknown>): Promise<JsonObject | null> {
  try {
    return fieldsOf(await call)
  } catch (error) {
    if (isMissing(error) || isOfOneRoute(error)) return null
    throw error
  }
}
