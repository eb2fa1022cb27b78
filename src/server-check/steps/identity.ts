import type { IncomingHttpHeaders } from 'node:http'
import { objectOf } from '../../a1111/json-values.ts'
import { probeServer } from '../../a1111/probe.ts'
import { addFinding, type CheckFacts } from '../facts.ts'
import { CheckEnded, type CheckSession } from '../session.ts'

/** Names of proxies and tunnels as their headers show them. */
const proxies: ReadonlyArray<readonly [pattern: RegExp, name: string]> = [
  [/cloudflare/i, 'Cloudflare'], [/openresty/i, 'OpenResty'], [/nginx/i, 'nginx'], [/caddy/i, 'Caddy'],
  [/traefik/i, 'Traefik'], [/apache/i, 'Apache'], [/haproxy/i, 'HAProxy'], [/envoy/i, 'Envoy'], [/varnish/i, 'Varnish'],
  [/ngrok/i, 'ngrok'], [/squid/i, 'Squid'], [/litespeed/i, 'LiteSpeed'], [/tailscale/i, 'Tailscale']
]

/** What stands in front of a server, as the headers of an answer say; null where they show nothing. */
export function proxyOf (headers: IncomingHttpHeaders): string | null {
  if (headers['cf-ray'] !== undefined) return 'Cloudflare'
  if (Object.keys(headers).some(name => name.startsWith('ngrok-'))) return 'ngrok'
  const words = [headers.server, headers.via, headers['x-powered-by']].flat().filter(Boolean).join(' ')
  const known = proxies.find(([pattern]) => pattern.test(words))
  if (known !== undefined) return known[1]
  return headers.via === undefined ? null : 'a proxy'
}

/** What the server is, and whether it lets us in. */
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
