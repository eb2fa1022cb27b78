import { setTimeout as sleep } from 'node:timers/promises'
import { startChild } from './child.ts'
import type { Environment } from './environment.ts'
import type { Seen, UpstreamOptions } from './upstream-process.ts'

export const generationPath = '/sdapi/v1/txt2img'
export const interruptPath = '/sdapi/v1/interrupt'

/** A server in a process of its own, and its record. */
export interface Upstream {
  readonly url: string
  /** Requests of this path since the last `forget`, in their order. */
  seen (path: string): Promise<Seen[]>
  forget (): Promise<void>
  /** Resolves once so many requests of this path are answered. */
  answered (path: string, count: number): Promise<Seen[]>
}

/** So much space for young objects, in MiB, that collecting them does not keep this process from the next request. */
const execArgv = ['--min-semi-space-size=128', '--max-semi-space-size=128']

/** For hundreds of generations, on a busy machine too; milliseconds. */
const patience = 240_000

export async function startUpstream (environment: Environment, options: UpstreamOptions): Promise<Upstream> {
  const child = startChild(environment, new URL('./upstream-process.js', import.meta.url), [], { execArgv })
  const url = await child.ask<string>('start', options)
  const seen = (path: string) => child.ask<Seen[]>('seen', path)
  return {
    url,
    seen,
    forget: () => child.ask('forget'),
    async answered (path, count) {
      const late = new AbortController()
      try {
        return await Promise.race([
          child.ask<Seen[]>('answered', { path, count }),
          sleep(patience, undefined, { signal: late.signal }).then(() => {
            throw new Error(`waited in vain until ${count} requests of ${path} were answered`)
          })
        ])
      } finally {
        late.abort()
      }
    }
  }
}

/** Milliseconds between each answer, once its last byte was handed over, and the next request. */
export function gapsOf (seen: readonly Seen[]): number[] {
  return seen.slice(1).map(({ arrived }, index) => arrived - (seen[index]?.finished ?? NaN))
}
