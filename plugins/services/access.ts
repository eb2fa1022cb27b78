import fp from 'fastify-plugin'
import { createFailedLogins, type FailedLogins } from '../../src/access/rate-limit.ts'
import { createSessions, createTickets, type Sessions, type Tickets } from '../../src/access/sessions.ts'
import { decorateAll } from './process.ts'

interface AccessServices {
  /** Tokens with full rights: AUTH_TOKEN and the admin token. */
  readonly fullTokens: readonly string[]
  readonly failedLogins: FailedLogins
  /** Sessions of the web UI. */
  readonly sessions: Sessions
  readonly tickets: Tickets
}

declare module 'fastify' {
  interface FastifyInstance extends AccessServices {}
}

export interface AccessServicesOptions {
  readonly tokens: readonly string[]
}

/** Authentication of clients. */
export default fp<AccessServicesOptions>(async (app, { tokens }) => {
  const { redis, keys, accessKeys } = app
  decorateAll<AccessServices>(app, {
    fullTokens: tokens,
    failedLogins: createFailedLogins({ redis, keys }),
    sessions: createSessions({ redis, keys, tokens }),
    tickets: createTickets({ redis, keys, accessKeys })
  })
}, { name: 'access-services', fastify: '5.x', dependencies: ['process'] })
