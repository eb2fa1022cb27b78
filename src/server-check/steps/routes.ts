import { fieldsOf, objectOf } from '../../a1111/json-values.ts'
import { rulesOf } from '../../a1111/kinds/registry.ts'
import { addFinding, type CheckFacts } from '../facts.ts'
import type { CheckSession } from '../session.ts'

/** Routes that jobs and clients use. Without `needed` ones, something that everybody expects does not work. */
const used = {
  needed: [
    'POST /sdapi/v1/txt2img', 'POST /sdapi/v1/img2img', 'GET /sdapi/v1/progress', 'POST /sdapi/v1/interrupt',
    'GET /sdapi/v1/sd-models', 'GET /sdapi/v1/samplers'
  ],
  useful: [
    'POST /sdapi/v1/extra-single-image', 'POST /sdapi/v1/extra-batch-images', 'POST /sdapi/v1/png-info',
    'POST /sdapi/v1/interrogate', 'POST /sdapi/v1/options', 'POST /sdapi/v1/unload-checkpoint',
    'GET /sdapi/v1/schedulers', 'GET /sdapi/v1/upscalers', 'GET /sdapi/v1/latent-upscale-modes', 'GET /sdapi/v1/loras',
    'GET /sdapi/v1/embeddings', 'GET /sdapi/v1/prompt-styles', 'GET /sdapi/v1/scripts', 'GET /sdapi/v1/script-info',
    'POST /internal/progress', 'GET /controlnet/model_list'
  ]
} as const

/** Which routes the server has: by its own document, else by requests that change nothing. */
export async function findRoutes (session: CheckSession, facts: CheckFacts): Promise<void> {
  const all = [...used.needed, ...used.useful]
  const listed = await routesOfDocument(session)
  const missing: string[] = []
  if (listed !== null) {
    facts.routes = listed
    missing.push(...all.filter(route => !listed.has(route)))
  } else {
    for (const route of all) if (!await answers(session, route)) missing.push(route)
    facts.routes = new Set(all.filter(route => !missing.includes(route)))
  }
  facts.learned.missingRoutes = missing
  // stable-diffusion.cpp lacks most of them, which is known.
  const takesSettings = rulesOf(facts.traits).overrideSettings !== null
  const needed: readonly string[] = takesSettings ? used.needed : used.needed.slice(0, 1)
  const hurts = missing.filter(route => needed.includes(route))
  const others = missing.filter(route => !needed.includes(route))
  if (hurts.length > 0) {
    addFinding(facts, 'routes', 'harm', `It lacks routes that jobs need: ${hurts.join(', ')}.`,
      'Update the server, or let the proxy in front of it pass these routes.')
  }
  if (others.length > 0) addFinding(facts, 'routes', 'note', `It does not offer: ${others.join(', ')}.`)
  if (missing.length === 0) addFinding(facts, 'routes', 'good', 'It has every route that jobs and clients use.')
}

async function routesOfDocument (session: CheckSession): Promise<Set<string> | null> {
  const { status, json } = await session.ask('GET', '/openapi.json')
  const paths = objectOf(fieldsOf(json).paths)
  if (status !== 200 || paths === null) return null
  const routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(fieldsOf(methods)).map(method => `${method.toUpperCase()} ${path}`))
  // A document of something else, such as of a proxy.
  return routes.some(route => route.includes('/sdapi/')) ? new Set(routes) : null
}

/** A GET of a route that takes only POST is answered 405 where it exists, and generates nothing. */
async function answers (session: CheckSession, route: string): Promise<boolean> {
  const [method, path = ''] = route.split(' ')
  const { status } = await session.ask('GET', path)
  return method === 'GET' ? status !== 404 && status !== 405 : status !== 404
}
