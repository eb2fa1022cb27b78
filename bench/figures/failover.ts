import { withEnvironment } from '../environment/environment.ts'
import { submission } from '../environment/ordinary.ts'
import { launchService, startService, type ServiceProcess } from '../environment/service.ts'
import { until } from '../environment/until.ts'
import { generationPath, startUpstream } from '../environment/upstream.ts'
import { median, now } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'worker killed to its job running again'

const times = 3
/** How long a lease outlives its holder, and how often another tries for it, in seconds. */
const lease = { lifetime: 4, interval: 1 }
const isUp = 'worker is up'

/**
 * A worker process is killed while it runs a generation; the clock stops when the server has the request again. Either
 * the process is started again at once, or another one is on standby.
 */
export async function measure (): Promise<Row[]> {
  return await withEnvironment(async environment => {
    const upstream = await startUpstream(environment, { kind: 'simulator', options: { stepMilliseconds: 200 } })
    const servers = { Main: upstream.url }
    const { caller } = await startService(environment, { command: 'api', servers })
    const startWorker = () => launchService(environment, { command: 'worker', servers })

    /** Seconds from the kill until the job runs again. */
    async function killDuringJob (worker: ServiceProcess, next: () => Promise<void>): Promise<number> {
      await upstream.forget()
      const { id } = await caller.post('/api/v2/generate', submission('Main', { steps: 150 })) as { id: string }
      await until(async () => (await upstream.seen(generationPath)).length === 1, 'the generation runs')
      const killed = now()
      await worker.kill()
      await next()
      await until(async () => (await upstream.seen(generationPath)).length === 2, 'it runs again')
      const again = (await upstream.seen(generationPath)).at(-1)?.arrived ?? NaN
      await caller.post(`/api/v2/jobs/${id}/cancel`)
      await until(async () => {
        const { job } = await caller.get(`/api/v2/jobs/${id}`) as { job: { status: string } }
        return job.status === 'cancelled'
      }, 'the job is cancelled')
      return (again - killed) / 1000
    }

    let worker = await startWorker()
    await worker.logged(isUp)
    const straightBack: number[] = []
    for (let index = 0; index < times; index++) {
      straightBack.push(await killDuringJob(worker, async () => { worker = await startWorker() }))
    }
    const takenOver: number[] = []
    for (let index = 0; index < times; index++) {
      const standby = await startWorker()
      await standby.logged(isUp)
      takenOver.push(await killDuringJob(worker, async () => { worker = standby }))
    }
    return [row('the process comes straight back', straightBack, 5), row('another stands by', takenOver, 15)]
  })
}

function row (name: string, found: readonly number[], goal: number): Row {
  const most = Math.max(...found)
  const limit = lease.lifetime + lease.interval
  return {
    figure: `${about}, ${name}`,
    measured: `${median(found).toFixed(2)} s, most ${most.toFixed(2)} s`,
    limit: `lease and interval ${limit} s`,
    ratio: (most / limit).toFixed(2),
    goal: `≤ ${goal} s`,
    ok: most <= goal
  }
}
