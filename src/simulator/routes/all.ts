import { profiles } from '../flavors.ts'
import type { ServerProcess } from '../server-process.ts'
import { controlRoutes } from './control.ts'
import { controlNetRoutes } from './controlnet.ts'
import { extrasRoutes } from './extras.ts'
import { generationRoutes } from './generation.ts'
import { interfaceRoutes } from './interface.ts'
import { internalRoutes } from './internal.ts'
import { listRoutes } from './lists.ts'
import { optionRoutes } from './options.ts'
import type { Route } from './route.ts'
import { sdcppRoutes } from './sdcpp.ts'
import { sdnextRoutes } from './sdnext.ts'

/** The routes of the simulated server: what its flavour and its start flags make of them. */
export function serverRoutes (server: ServerProcess): Route[] {
  const { settings } = server.machine
  if (settings.family === 'sdcpp') return sdcppRoutes(server)
  const { lacks } = profiles[settings.flavor]
  const routes = [
    ...generationRoutes(server),
    ...controlRoutes(server),
    ...optionRoutes(server),
    ...listRoutes(server),
    ...extrasRoutes(server),
    ...settings.controlNet && settings.flavor !== 'sdnext' ? controlNetRoutes(settings) : [],
    ...settings.internalProgress ? [...internalRoutes(server), ...interfaceRoutes(settings.family)] : []
  ].filter(({ path }) => !lacks.some(name => path === `/sdapi/v1/${name}`))
  return settings.flavor === 'sdnext' ? sdnextRoutes(server, routes) : routes
}
