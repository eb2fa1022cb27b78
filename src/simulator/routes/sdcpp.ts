import type { ServerProcess } from '../server-process.ts'
import type { Route } from './route.ts'

export function sdcppRoutes (_process: ServerProcess): Route[] {
  return []
}
