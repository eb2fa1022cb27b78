import { createAnswer, get, type Route } from '../routes/route.ts'
import type { ServerProcess } from '../server-process.ts'
import { isUnmounted } from '../start.ts'

/**
 * FastAPI's own documents: they list the server's routes and nothing of the simulator's. The list is made when it is
 * first asked for and stays so: who asks too early hides from everybody what is mounted later.
 */
export function documentRoutes (routes: readonly Route[], { start }: Pick<ServerProcess, 'start'>): Route[] {
  const open = { access: 'open', runsIn: 'loop' } as const
  let paths: Record<string, Record<string, unknown>> | undefined

  function list (): Record<string, Record<string, unknown>> {
    const listed: Record<string, Record<string, unknown>> = {}
    for (const route of routes.filter(({ path }) => !isUnmounted(start.phase(), path))) {
      listed[route.path] = {
        ...listed[route.path],
        [route.method.toLowerCase()]: { responses: { 200: { description: 'Successful Response' } } }
      }
    }
    return listed
  }

  return [
    get('/openapi.json', () => {
      paths ??= list()
      return { openapi: '3.0.2', info: { title: 'FastAPI', version: '0.1.0' }, paths }
    }, open),
    get('/docs', () => createAnswer(200, 'text/html; charset=utf-8', '<!doctype html><title>FastAPI - Swagger UI</title>'), open)
  ]
}
