import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import { version } from '../lib/version.ts'

/** The metrics of one process, for Prometheus. Times are milliseconds here and seconds there. */
export interface Metrics {
  /** A generation is sent. @param waited since the job was accepted, for its first generation only */
  generationStarted (facts: { server: string, waited: number | null }): void
  /** A generation failed. */
  generationFailed (facts: { server: string, failureClass: string, code: string }): void
  /** A job finished here. @param code of its error, or empty */
  jobEnded (facts: { server: string, status: string, code: string, took: number | null }): void
  /** The server was idle between two jobs although the second waited. */
  serverIdle (facts: { server: string, gap: number }): void
  /** One attempt to deliver an event. */
  deliveryTried (facts: { outcome: string, took: number }): void
  /** @param route pattern of the path, never the path itself, so that the number of series stays small */
  requestAnswered (facts: { method: string, route: string, status: number, took: number }): void
  /** All metrics in the text format of Prometheus. */
  text (): Promise<string>
}

export const metricsContentType = Registry.PROMETHEUS_CONTENT_TYPE

const generationSeconds = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800]
const waitSeconds = [0.1, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600]
const gapSeconds = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2, 5]
const shortSeconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15]

/** The metrics of the folders in which files are stored. */
export interface StorageState {
  fault (): Promise<unknown>
  freeBytes (): Promise<ReadonlyArray<{ readonly folder: string, readonly bytes: number }>>
}

/** States of jobs, kinds of failures and results of attempts whose counters exist before the first of them. */
const ends = ['completed', 'failed', 'cancelled']
const failureClasses = ['request', 'server-down', 'unauthorized', 'blocked', 'passing', 'out-of-memory', 'timeout']
const outcomes = ['delivered', 'retried', 'failed']

/**
 * Both parameters are read whenever a client reads the metrics.
 * @param servers aliases of all servers
 */
export function createMetrics (storage?: StorageState, servers: () => readonly string[] = () => []): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const counter = <Label extends string>(name: string, help: string, labelNames: readonly Label[]) =>
    new Counter({ name: `stablequeue_${name}`, help, labelNames: [...labelNames], registers })
  const histogram = <Label extends string>(
    name: string, help: string, labelNames: readonly Label[], buckets: readonly number[]
  ) => new Histogram({
    name: `stablequeue_${name}`, help, labelNames: [...labelNames], buckets: [...buckets], registers
  })

  const started = counter('generations_started_total', 'Generations sent to a server', ['server'])
  const failures = counter('generation_failures_total', 'Generations that brought no result, by kind of failure',
    ['server', 'class', 'code'])
  const ended = counter('jobs_ended_total', 'Jobs that finished in this process', ['server', 'status', 'code'])
  const took = histogram('generation_duration_seconds', 'From sending a generation until its images are stored',
    ['server'], generationSeconds)
  const waited = histogram('job_wait_seconds', 'From accepting a job until its first generation is sent',
    ['server'], waitSeconds)
  const gap = histogram('server_gap_seconds', 'Idle time of a server between two jobs while the second waited',
    ['server'], gapSeconds)
  const deliveries = histogram('webhook_attempt_duration_seconds', 'Attempts to deliver an event, by result',
    ['outcome'], shortSeconds)
  const requests = histogram('http_request_duration_seconds', 'Requests by method, route and status',
    ['method', 'route', 'status'], shortSeconds)

  const free = new Gauge({
    name: 'stablequeue_storage_free_bytes',
    help: 'Free bytes on the disk of a folder under DATA_DIR',
    labelNames: ['folder'],
    registers
  })
  const usable = new Gauge({ name: 'stablequeue_storage_ok', help: 'Whether files can be kept under DATA_DIR', registers })

  new Gauge({
    name: 'stablequeue_build_info', help: 'Always 1; version and Node.js of this process', labelNames: ['version', 'node'], registers
  }).set({ version, node: process.versions.node }, 1)
  for (const outcome of outcomes) deliveries.zero({ outcome })

  /** Rates over a counter that begins with its first event miss that event. */
  const counted = new Set<string>()
  function beginCounting (): void {
    const present = new Set(servers())
    for (const server of [...counted].filter(known => !present.has(known))) {
      counted.delete(server)
      for (const metric of [started, took, waited, gap]) metric.remove({ server })
      for (const status of ends) ended.remove({ server, status, code: '' })
      for (const kind of failureClasses) failures.remove({ server, class: kind, code: '' })
    }
    for (const server of [...present].filter(one => !counted.has(one))) {
      counted.add(server)
      started.inc({ server }, 0)
      for (const histogram of [took, waited, gap]) histogram.zero({ server })
      for (const status of ends) ended.inc({ server, status, code: '' }, 0)
      for (const kind of failureClasses) failures.inc({ server, class: kind, code: '' }, 0)
    }
  }

  async function readStorage (): Promise<void> {
    if (storage === undefined) return
    usable.set(Number(await storage.fault() === null))
    free.reset()
    for (const { folder, bytes } of await storage.freeBytes()) free.set({ folder }, bytes)
  }

  return {
    generationStarted ({ server, waited: since }) {
      started.inc({ server })
      if (since !== null) waited.observe({ server }, since / 1000)
    },
    generationFailed ({ server, failureClass, code }) {
      failures.inc({ server, class: failureClass, code })
    },
    jobEnded ({ server, status, code, took: duration }) {
      ended.inc({ server, status, code })
      if (duration !== null) took.observe({ server }, duration / 1000)
    },
    serverIdle ({ server, gap: idle }) {
      gap.observe({ server }, idle / 1000)
    },
    deliveryTried ({ outcome, took: duration }) {
      deliveries.observe({ outcome }, duration / 1000)
    },
    requestAnswered ({ method, route, status, took: duration }) {
      requests.observe({ method, route, status: String(status) }, duration / 1000)
    },
    async text () {
      beginCounting()
      await readStorage()
      return await registry.metrics()
    }
  }
}

let collected: Registry | undefined

/** Memory, processor time, event loop and garbage collection of this process, in the text format of Prometheus. */
export async function processMetrics (): Promise<string> {
  if (collected === undefined) {
    collected = new Registry()
    collectDefaultMetrics({ register: collected })
    // Sums of gauges that are there by type; only counters can have this suffix.
    for (const kind of ['handles', 'requests', 'resources']) collected.removeSingleMetric(`nodejs_active_${kind}_total`)
  }
  return await collected.metrics()
}
