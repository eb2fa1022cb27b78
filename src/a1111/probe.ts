import type { A1111Client } from './client.ts'
import { isMissing } from './failures.ts'
import { fieldsOf, textOf, type JsonObject } from './json-values.ts'
import type { Sight } from './kinds/kind.ts'
import { recogniseKind } from './kinds/registry.ts'
import { GenerationFailure, routeOf, type ServerTraits } from './types.ts'

/**
 * Finds out what listens at an address, by calls that change nothing and wait for no generation.
 *
 * A1111's version is not asked for: the routes that tell it are slow (`sysinfo`) or leak (`cmd-flags`). The answer to a
 * generation tells it.
 *
 * @throws GenerationFailure: `unauthorized`, `route_missing` if there is no A1111 API, and whatever keeps a call
 *   from being answered
 */
export async function probeServer (client: A1111Client): Promise<ServerTraits> {
  try {
    return await probe(client)
  } catch (error) {
    throw error instanceof GenerationFailure ? await client.explain(error) : error
  }
}

async function probe (client: A1111Client): Promise<ServerTraits> {
  // first alone: it tells whether anybody is there and lets us in
  const options = fieldsOf(await client.readJson('/sdapi/v1/options'))
  const [about, progress, taskProgress, interrupt, img2img] = await Promise.all([
    answerOf(client.readJson('/simulator/about')),
    answerOf(client.readJson('/sdapi/v1/progress?skip_current_image=true')),
    answerOf(client.postJson('/internal/progress', { id_task: 'stablequeue-probe', live_preview: false })),
    offersPost(client, '/sdapi/v1/interrupt'),
    offersPost(client, '/sdapi/v1/img2img')
  ])
  return {
    ...kindOf(about, { options, progress, taskProgress }),
    version: textOf(about?.version),
    capabilities: {
      progress: progress !== null && 'progress' in progress,
      taskProgress: taskProgress !== null && 'active' in taskProgress,
      interrupt,
      img2img
    },
    loadedCheckpoint: textOf(options.sd_model_checkpoint)
  }
}

/** Where jobs and calls in turn with them are sent. */
const workRoutes = [
  routeOf('txt2img'), routeOf('img2img'), routeOf('extras'), '/sdapi/v1/extra-single-image', '/sdapi/v1/interrogate',
  '/controlnet/detect'
]

/**
 * Those of the routes to which work is sent that the server says it has not got. What denies both ways of drawing only
 * knows its routes together with their methods, so it says nothing.
 */
export async function findMissingRoutes (client: A1111Client): Promise<string[]> {
  const offered = await Promise.all(workRoutes.map(async path => await offersPost(client, path)))
  const missing = workRoutes.filter((_path, index) => offered[index] === false)
  return [routeOf('txt2img'), routeOf('img2img')].every(path => missing.includes(path)) ? [] : missing
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

/** What a server, or something in front of it, does at one route although it has answered at another. */
const ofOneRoute = new Set(['bad_gateway', 'redirected', 'not_http'])

function isOfOneRoute (error: unknown): boolean {
  if (!(error instanceof GenerationFailure)) return false
  const { failureClass, code } = error
  if (failureClass === 'server-down') return ofOneRoute.has(code)
  return failureClass !== 'cancelled' && failureClass !== 'internal'
}
