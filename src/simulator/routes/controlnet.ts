import type { ServerProcess } from '../server-process.ts'
import { get, type Route } from './route.ts'

export function controlNetRoutes (_process: ServerProcess): Route[] {
  return [get('/controlnet/version', () => ({ version: 3 }))]
}
