import type { ServerProcess } from '../server-process.ts'
import type { Route } from './route.ts'

export function extrasRoutes (_process: ServerProcess): Route[] {
  return []
}
