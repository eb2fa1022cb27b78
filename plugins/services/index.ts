import fp from 'fastify-plugin'
import type { Services } from '../../src/services/services.ts'
import type { Pause } from '../../src/sdapi/answer.ts'
import access from './access.ts'
import events from './events.ts'
import jobs from './jobs.ts'
import process from './process.ts'
import sdapi from './sdapi.ts'
import servers from './servers.ts'
import bots from './bots.ts'

export interface ServicesOptions {
  readonly services: Services
  /** Tokens with full rights: AUTH_TOKEN and the admin token. */
  readonly tokens: readonly string[]
  /** Between two blanks of a waiting answer of the drop-in; real time except in tests. */
  readonly pause?: Pause | undefined
}

/** The services that routes use, as decorators of the instance: each file declares its own. */
export default fp<ServicesOptions>(async (app, { services, tokens, pause }) => {
  await app.register(process, { services })
  await app.register(access, { tokens })
  await app.register(servers)
  await app.register(jobs)
  await app.register(events)
  await app.register(sdapi, { pause })
  await app.register(bots)
}, { name: 'services', fastify: '5.x' })
