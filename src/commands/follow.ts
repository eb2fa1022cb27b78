import type { EventView } from '../../schemas/event.ts'
import type { JobView } from '../../schemas/job.ts'
import { barOf, createStatusLine, durationText, type Output } from './output.ts'
import { persist, type Service } from './service.ts'

/** Exit codes of commands that wait for jobs, beside 0, 1 for a service that refuses, and 2 for wrong usage. */
export const exitCodes = { completed: 0, failed: 3, cancelled: 4 } as const

export interface Following {
  readonly onEvent?: (event: EventView) => void
  /** The service does not answer; it is asked again until it does. Called once an outage. */
  readonly onAway: (reason: string) => void
  readonly signal?: AbortSignal
}

const ends = ['completed', 'failed', 'cancelled'] as const
export const hasEnded = ({ status }: Pick<JobView, 'status'>) => (ends as readonly string[]).includes(status)

export async function readJob (service: Service, id: string): Promise<JobView> {
  return (await service.ask('GET', `/api/v2/jobs/${encodeURIComponent(id)}`) as { job: JobView }).job
}

/** Follows a job until it ends, through restarts of the service. @throws ServiceFailure if there is no such job */
export async function followJob (
  service: Service, id: string, { onEvent, onAway, signal }: Following
): Promise<JobView> {
  let last: string | null = null
  for (;;) {
    const job = await persist(() => readJob(service, id), onAway, signal)
    if (hasEnded(job)) return job
    const stream = service.events(`/api/v2/jobs/${encodeURIComponent(id)}/events`, last, signal)
    try {
      for await (const event of stream) {
        last = event.id ?? last
        onEvent?.(event)
      }
    } catch {
      // Whether the service refuses or is away, the next read of the job says.
    }
    signal?.throwIfAborted()
  }
}

/** Shows on a terminal how far a job is; elsewhere, a line for each step of its life. */
export function showProgress (output: Output) {
  const line = createStatusLine(output)
  let server = ''
  const say = (text: string) => { output.note(`${text}\n`) }
  return {
    event ({ kind, server: alias, data, status }: EventView): void {
      server = alias ?? server
      const at = server === '' || server === 'default' ? '' : ` at ${server}`
      if (kind === 'place' || (kind === 'snapshot' && status === 'pending')) {
        const { position = data.queue_position, eta_seconds: eta } = data
        const ahead = typeof position === 'number' ? `place ${position} in the queue` : 'in the queue'
        line.show(`waits, ${ahead}${typeof eta === 'number' ? `, about ${durationText(eta)} left` : ''}`)
      } else if (kind === 'progress' || (kind === 'snapshot' && status === 'processing')) {
        line.show(progressText(data, at))
      } else if (kind === 'returned') {
        line.clear()
        say(`${server} failed (${String(data.message ?? data.code ?? 'no reason')}); the job is in the queue again`)
      } else if (output.width === null && kind === 'started') {
        say(`generating${at}`)
      }
    },
    away (reason: string): void {
      line.clear()
      say(`${reason} Waiting for it.`)
    },
    end (): void { line.clear() }
  }
}

function progressText ({ progress, step, steps, estimated_time_remaining: eta }: EventView['data'], at: string): string {
  const share = typeof progress === 'number' ? progress : 0
  const parts = [
    `${barOf(share)} ${String(Math.round(share * 100)).padStart(3)} %`,
    typeof step === 'number' && typeof steps === 'number' ? `step ${step} of ${steps}` : '',
    typeof eta === 'number' ? `${durationText(eta)} left` : ''
  ]
  return parts.filter(Boolean).join('  ') + at
}
