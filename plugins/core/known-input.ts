import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import { describeUnknownField, unknownFieldsError } from '../../src/a1111/unknown-fields.ts'

/** Parameters that clients add to an address to prevent caching. */
const cacheBuster = /^(_.*|t|ts|v|r|rnd|rand|random|cb|no_?cache|cache|cache_?bust(er)?|timestamp)$/i
/** No filter: it names the user, on the routes that take it, and clients that have one add it to all addresses. */
const ticket = 'ticket'
const changing = new Set(['POST', 'PUT', 'PATCH', 'DELETE'])

/**
 * Refuses, under /api, input that no schema of a body can refuse: unknown parameters of the query, and fields in the
 * body of a route without one. A misspelt filter narrows nothing, and `?dry_run=true` on a route without a dry run
 * would do the real thing.
 */
export default fp(async app => {
  app.addHook('onRoute', route => {
    if (!route.url.startsWith('/api/')) return
    const known = parametersOf(route)
    const takesNoBody = route.schema?.body === undefined && [route.method].flat().some(method => changing.has(method))
    function check (request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction): void {
      const asked = Object.keys(request.query as object)
      refuseUnknown(asked.filter(name => name !== ticket && !cacheBuster.test(name)), known)
      if (takesNoBody && typeof request.body === 'object') refuseUnknown(Object.keys(request.body ?? {}), [])
      done()
    }
    route.preValidation = [route.preValidation ?? [], check].flat()
  })
}, { name: 'known-input' })

function parametersOf ({ schema }: RouteOptions): string[] {
  const { properties = {} } = (schema?.querystring ?? {}) as { properties?: object }
  return Object.keys(properties)
}

/** @throws ServiceError `invalid_field_value` about unknown names */
function refuseUnknown (names: readonly string[], known: readonly string[]): void {
  const [first, ...others] = names.filter(name => !known.includes(name)).map(name => describeUnknownField(name, known))
  if (first !== undefined) throw unknownFieldsError([first, ...others])
}
