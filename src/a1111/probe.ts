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
  /** Routes for work that the server reports as missing. */
  readonly missing: readonly string[]
}

/** The assumed routes until they are known. */
const defaultRoutes: ServerRoutes = { interrupt: true, img2img: true, missing: [] }

const interruptRoute = '/sdapi/v1/interrupt'
/** Routes of jobs and exclusive calls. */
const workRoutes = [
  routeOf('txt2img'), routeOf('img2img'), routeOf('extras'), '/sdapi/v1/extra-single-image', '/sdapi/v1/interrogate',
  '/controlnet/detect'
]

/**
 * Read this once per start, and not before the start is over: FastAPI creates its document at the first request and
 * never updates it. At servers without one, each route is probed by GET, which some write into their logs.
 */
export async function readRoutes (client: A1111Client): Promise<ServerRoutes> {
  const listed = await readDocument(client)
  const paths = [...new Set([interruptRoute, routeOf('img2img'), ...workRoutes])]
  const offers = await Promise.all(paths.map(async path =>
    listed === null ? await offersPost(client, path) : listed.has(path)))
  const offered = new Set(paths.filter((_path, index) => offers[index]))
  const missing = workRoutes.filter(path => !offered.has(path))
  // A server that denies both generation routes only matches routes together with their methods, so its answers mean
  // nothing.
  const isMute = [routeOf('txt2img'), routeOf('img2img')].every(path => missing.includes(path))
  return {
    interrupt: offered.has(interruptRoute),
    img2img: offered.has(routeOf('img2img')),
    missing: isMute ? [] : missing
  }
}

/** Long parts of the document that list no routes. */
const leaveOut = ['components', 'parameters', 'requestBody', 'responses']

/** The paths that accept POST; null if there is no such document, or it describes something else. */
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
 * A1111 answers GET with 405 if the route only accepts POST, and with 404 if it does not exist. Other failures of GET
 * say nothing about POST.
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
 * Identifies the server at an address, by calls that change nothing and wait for no generation.
 *
 * It does not request A1111's version: the routes that report it are slow (`sysinfo`) or leak (`cmd-flags`). The answer
 * to a generation contains it.
 *
 * @param routes as read once; probing them each time would fill the server's log
 * @param known of a server that was not restarted since: then one call shows whether it answers and what it has loaded
 * @throws GenerationFailure: `unauthorized`, `route_missing` if there is no A1111 API, and any failure of a call
 */
export async function probeServer (
  client: A1111Client, routes: ServerRoutes = defaultRoutes, known: ServerTraits | null = null
): Promise<ServerTraits> {
  try {
    return await probe(client, routes, known)
  } catch (error) {
    throw error instanceof GenerationFailure ? await client.explain(error) : error
  }
}

async function probe (
  client: A1111Client, routes: ServerRoutes, known: ServerTraits | null
): Promise<ServerTraits> {
  // alone first: it shows whether a server is there and accepts our credentials
  const options = fieldsOf(await client.readJson('/sdapi/v1/options'))
  if (known !== null) return { ...known, loadedCheckpoint: textOf(options.sd_model_checkpoint) }
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

/** The answer; null if the route is missing, forbidden, or does not answer JSON. */
async function answerOf (call: Promise<unknown>): Promise<JsonObject | null> {
  try {
    return fieldsOf(await call)
  } catch (error) {
    if (isMissing(error) || isOfOneRoute(error)) return null
    throw error
  }
}
