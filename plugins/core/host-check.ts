import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { headerValues, isAllowedHost, type HostRules } from '../../src/access/trust.ts'
import { ServiceError } from '../../src/lib/errors.ts'

export interface HostCheckOptions {
  readonly rules: HostRules
}

/** Refuses requests for a host name that is not ours, on all routes, before any other check. */
const hostCheck: FastifyPluginAsync<HostCheckOptions> = async (app, { rules }) => {
  app.addHook('onRequest', async request => {
    const hosts = headerValues(request.raw.rawHeaders, 'host')
    if (isAllowedHost(rules, hosts)) return
    const shown = hosts.length === 1 ? JSON.stringify(hosts[0]?.slice(0, 100)) : `${hosts.length} Host headers`
    throw new ServiceError('unknown_host',
      `This service does not answer to ${shown}; use localhost or an IP address, or add the name to PUBLIC_HOSTS`)
  })
}

export default fp(hostCheck, { name: 'host-check', fastify: '5.x' })
