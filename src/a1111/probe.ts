import type { A1111Client } from './client.ts'
import { isMissing, isOfOneRoute } from './failures.ts'
import { fieldsOf, textOf, type JsonObject } from './json-values.ts'
import type { Sight } from './kinds/kind.ts'
import { recogniseKind, rulesOf } from './kinds/registry.ts'
import { usualRoutes, type ServerRoutes } from './routes.ts'
import { GenerationFailure, type ServerTraits } from './types.ts'

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
export async function probeServer (client: A1111Client, routes: ServerRoutes = usualRoutes): Promise<ServerTraits> {
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
