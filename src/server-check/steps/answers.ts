import type { IncomingHttpHeaders } from 'node:http'
import type { ServerCheckReport } from '../../../schemas/server-check.ts'
import { rulesOf } from '../../a1111/kinds/registry.ts'
import { probeServer } from '../../a1111/probe.ts'
import type { RawAnswer } from '../../a1111/raw-calls.ts'
import { fieldsOf, objectOf } from '../../lib/json-values.ts'
import { addFinding, type CheckFacts } from '../report.ts'
import { CheckEnded, type CheckSession } from '../session.ts'

type ErrorStyle = ServerCheckReport['traits']['error_styles'][number]

const names: Readonly<Record<ErrorStyle, string>> = {
  a1111: 'A1111\'s own',
  forge: 'Forge\'s own',
  fastapi: 'FastAPI\'s',
  pydantic1: 'pydantic 1',
  pydantic2: 'pydantic 2',
  bare_string: 'a bare JSON string',
  html: 'an HTML page',
  other: 'an unknown one'
}

/** The style of an error's words; null for an answer that is not an error. */
export function errorStyleOf ({ status, headers, text, json }: Pick<RawAnswer, 'status' | 'headers' | 'text' | 'json'>): ErrorStyle | null {
  if (status < 400) return null
  const isHtml = /html/i.test(headers['content-type'] ?? '') || text.trimStart().startsWith('<')
  if (isHtml) return 'html'
  if (typeof json === 'string') return 'bare_string'
  const body = objectOf(json)
  if (body === null) return 'other'
  if (Array.isArray(body.detail)) return styleOfList(body.detail)
  if ('error' in body && 'detail' in body && 'errors' in body) return 'a1111'
  if ('error' in body && 'detail' in body && 'message' in body) return 'forge'
  return 'detail' in body && !('error' in body) ? 'fastapi' : 'other'
}

/** pydantic 1 names its types `type_error.integer` and the like; pydantic 2 has plain words. */
function styleOfList (list: readonly unknown[]): ErrorStyle {
  const types = list.map(entry => fieldsOf(entry).type)
  if (!types.every(type => typeof type === 'string')) return 'other'
  return types.some(type => /^(value_error|type_error)/.test(type)) ? 'pydantic1' : 'pydantic2'
}

/** Finds how the server words its errors: a wrong field, a request that fails, a route that does not exist. */
export async function findErrorStyles (session: CheckSession, facts: CheckFacts): Promise<void> {
  const answers: RawAnswer[] = []
  // stable-diffusion.cpp accepts any value and generates.
  if (rulesOf(facts.traits).overrideSettings !== null) {
    answers.push(await session.generate({ steps: 1, fields: { steps: 'many' } }))
  }
  answers.push(
    await session.ask('POST', '/sdapi/v1/png-info', JSON.stringify({ image: '' })),
    await session.ask('GET', '/sdapi/v1/stablequeue-check')
  )
  const styles = [...new Set(answers.map(errorStyleOf).filter(style => style !== null))]
  facts.learned.errorStyles = styles
  if (styles.length === 0) {
    addFinding(facts, 'errors', 'unknown', 'It reported no error for wrong requests, so how it words them is not known.')
    return
  }
  const forms = `Errors come in ${styles.length === 1 ? 'this form' : 'these forms'}: ${styles.map(style => names[style]).join(', ')}.`
  if (styles.includes('html')) {
    addFinding(facts, 'errors', 'harm', `${forms} Something in front of the server replaces its errors.`,
      'Let the proxy pass the errors of the server, such as proxy_intercept_errors off of nginx.')
  } else if (styles.includes('other')) {
    addFinding(facts, 'errors', 'note', `${forms} Reasons of failures are possibly not shown.`)
  } else {
    addFinding(facts, 'errors', 'good', `${forms} They are understood.`)
  }
}

/** Routes that jobs and clients use. Without `needed` ones, a common function does not work. */
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

/** Finds the routes of the server: by its own document, else by requests that change nothing. */
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
  // stable-diffusion.cpp is known to lack most of them.
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
  // It could be a document of something else, such as a proxy.
  return routes.some(route => route.includes('/sdapi/')) ? new Set(routes) : null
}

/** If a POST-only route exists, the server answers a GET with 405 and generates nothing. */
async function answers (session: CheckSession, route: string): Promise<boolean> {
  const [method, path = ''] = route.split(' ')
  const { status } = await session.ask('GET', path)
  return method === 'GET' ? status !== 404 && status !== 405 : status !== 404
}

/** Names of proxies and tunnels as their headers show them. */
const proxies: ReadonlyArray<readonly [pattern: RegExp, name: string]> = [
  [/cloudflare/i, 'Cloudflare'], [/openresty/i, 'OpenResty'], [/nginx/i, 'nginx'], [/caddy/i, 'Caddy'],
  [/traefik/i, 'Traefik'], [/apache/i, 'Apache'], [/haproxy/i, 'HAProxy'], [/envoy/i, 'Envoy'], [/varnish/i, 'Varnish'],
  [/ngrok/i, 'ngrok'], [/squid/i, 'Squid'], [/litespeed/i, 'LiteSpeed'], [/tailscale/i, 'Tailscale']
]

/** The proxy in front of a server, by the headers of an answer; null if they show none. */
export function proxyOf (headers: IncomingHttpHeaders): string | null {
  if (headers['cf-ray'] !== undefined) return 'Cloudflare'
  if (Object.keys(headers).some(name => name.startsWith('ngrok-'))) return 'ngrok'
  const words = [headers.server, headers.via, headers['x-powered-by']].flat().filter(Boolean).join(' ')
  const known = proxies.find(([pattern]) => pattern.test(words))
  if (known !== undefined) return known[1]
  return headers.via === undefined ? null : 'a proxy'
}

/** Identifies the server, and checks whether it accepts our credentials. */
export async function identify (session: CheckSession, facts: CheckFacts): Promise<void> {
  const answer = await session.ask('GET', '/sdapi/v1/options')
  facts.learned.proxy = proxyOf(answer.headers)
  const options = objectOf(answer.json)
  if (answer.status === 401 || answer.status === 403) {
    throw new CheckEnded('could_not_run', `The server does not accept our credentials (status ${answer.status}).`)
  }
  if (answer.status !== 200 || options === null) {
    throw new CheckEnded('could_not_run', 'GET /sdapi/v1/options did not bring the settings of an A1111-like server ' +
      `(status ${answer.status}); is it running with --api?`)
  }
  facts.options = options
  const traits = await probeServer(session.client)
  facts.traits = traits
  facts.version = traits.version
  const models = await session.ask('GET', '/sdapi/v1/sd-models')
  facts.checkpoints = Array.isArray(models.json) ? models.json.length : null
  if (facts.learned.proxy !== null) {
    addFinding(facts, 'identity', 'note', `${facts.learned.proxy} answers in front of the server.`)
  }
}
