import type { Server } from '../servers/server.ts'
import { version } from '../version.ts'

export interface BannerFacts {
  /** Where the service is reached. */
  readonly address: string
  /** How to get into the web UI where it asks for a token; null where it does not. */
  readonly notice: string | null
  readonly redis: string
  readonly servers: readonly Server[]
}

/** What a person wants to know after the start, in a few lines. */
export function banner ({ address, notice, redis, servers }: BannerFacts): string {
  const shown = servers.map(({ alias, address: { baseUrl }, origin, enabled }) => {
    const remark = origin === 'simulator' ? ' (simulator: it paints, there is no Stable Diffusion)' : ''
    return `${alias} ${baseUrl}${remark}${enabled ? '' : ' (disabled)'}`
  })
  const lines = [
    `StableQueue ${version}`,
    notice ?? `Web UI:    ${address}/`,
    `API docs:  ${address}/docs`,
    `Dashboard: ${address}/dashboard`,
    `Redis:     ${redis}`,
    `Servers:   ${shown.length === 0 ? 'none yet; add one with POST /api/v1/servers' : shown.join('\n           ')}`
  ]
  return `\n${lines.map(line => `  ${line}`).join('\n')}\n\n`
}
