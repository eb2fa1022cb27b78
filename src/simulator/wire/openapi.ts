import { createAnswer, get, type Route } from '../routes/route.ts'

/** FastAPI's own documents: they list the server's routes and nothing of the simulator's. */
export function documentRoutes (routes: readonly Route[]): Route[] {
  const open = { access: 'open', runsIn: 'loop' } as const
  const paths: Record<string, Record<string, unknown>> = {}
  for (const route of routes) {
    paths[route.path] = {
      ...paths[route.path],
      [route.method.toLowerCase()]: { responses: { 200: { description: 'Successful Response' } } }
    }
  }
  return [
    get('/openapi.json', () => ({ openapi: '3.0.2', info: { title: 'FastAPI', version: '0.1.0' }, paths }), open),
    get('/docs', () => createAnswer(200, 'text/html; charset=utf-8', '<!doctype html><title>FastAPI - Swagger UI</title>'), open)
  ]
}
