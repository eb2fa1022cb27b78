import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * The methods that routes have at a path if none has this one; empty if there is no such path, or one has it. GET
     * comes first.
     */
    methodsInstead (method: string, path: string): readonly string[]
  }
}

/** Remembers every route, because the router finds one only by its method. It comes before all routes. */
export default fp(async app => {
  const methodsByUrl = new Map<string, Set<string>>()
  let matchers: ReadonlyArray<{ pattern: RegExp, methods: ReadonlySet<string> }> | undefined

  app.addHook('onRoute', ({ url, method }) => {
    // Routes for every path say nothing about one.
    if (url === '*' || url === '/*') return
    const methods = methodsByUrl.get(url) ?? new Set()
    for (const name of [method].flat()) methods.add(name)
    methodsByUrl.set(url, methods)
  })

  // A path without this method takes no body, so the type and the text of one do not matter.
  app.addHook('preParsing', (request, reply, payload, done) => {
    if (request.is404) answer(request, reply).catch(done)
    else done(null, payload)
  })

  async function answer (request: FastifyRequest, reply: FastifyReply): Promise<void> {
    await request.routeOptions.handler.call(app, request, reply)
  }

  app.decorate('methodsInstead', (method, path) => {
    matchers ??= [...methodsByUrl].map(([url, methods]) => ({ pattern: patternOf(url), methods }))
    const found = new Set(matchers.filter(({ pattern }) => pattern.test(path)).flatMap(({ methods }) => [...methods]))
    // Then its route found out itself that there is nothing, or takes only some of the requests.
    if (found.has(method)) return []
    return [...found].toSorted((one, other) => rankOf(one) - rankOf(other))
  })
}, { name: 'known-paths' })

const order = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
const rankOf = (method: string) => order.indexOf(method)

/** A route's path, such as `/jobs/:id` or `/static/*`, with an optional slash at its end. */
function patternOf (url: string): RegExp {
  const parts = url.replace(/\/$/, '').split('/').map(part => {
    if (part.startsWith(':')) return '[^/]+'
    return part === '*' ? '.*' : part.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`)
  })
  return new RegExp(`^${parts.join('/')}/?$`)
}
