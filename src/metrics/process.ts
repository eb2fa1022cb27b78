import { Registry, collectDefaultMetrics } from 'prom-client'

let collected: Registry | undefined

/** Memory, processor time, event loop and garbage collection of this process, in the text format of Prometheus. */
export async function processMetrics (): Promise<string> {
  if (collected === undefined) {
    collected = new Registry()
    collectDefaultMetrics({ register: collected })
  }
  return await collected.metrics()
}
