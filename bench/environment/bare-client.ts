import type { BareRun } from './bare-client-process.ts'
import { startChild } from './child.ts'
import type { Environment } from './environment.ts'
import { ordinaryParameters } from './ordinary.ts'
import { gapsOf, generationPath, type Upstream } from './upstream.ts'

/**
 * Milliseconds of a server between two generations of a client in a process of its own that does nothing else: what
 * machine, Node and server leave to be reached.
 */
export async function measureBareGaps (
  environment: Environment, upstream: Upstream, { times, size }: { readonly times: number, readonly size: number }
): Promise<number[]> {
  const client = startChild(environment, new URL('./bare-client-process.js', import.meta.url), [])
  const body = JSON.stringify({ ...ordinaryParameters, width: size, height: size, seed: 1 })
  const run: BareRun = { port: Number(new URL(upstream.url).port), path: generationPath, body, times }
  // The server makes the picture for the first one.
  await client.ask('run', { ...run, times: 20 })
  await upstream.forget()
  await client.ask('run', run)
  const gaps = gapsOf(await upstream.answered(generationPath, times))
  await client.stop()
  return gaps
}
