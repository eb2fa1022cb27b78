import type { Job } from '../../src/jobs/job.ts'
import { createJobStore } from '../../src/jobs/store.ts'
import { createKeys } from '../../src/lib/keys.ts'
import { withEnvironment } from './environment.ts'
import { submission } from './ordinary.ts'
import { fillDial, recordsOnly } from './records-only.ts'
import { startService } from './service.ts'
import { startUpstream } from './upstream.ts'
import { until } from './until.ts'

/** A finished job as the service itself makes one: ordinary parameters, one image, the simulator's own `info`. */
export async function makeOrdinaryJob (): Promise<Job> {
  return await withEnvironment(async environment => {
    const upstream = await startUpstream(environment, { kind: 'simulator', options: { stepMilliseconds: 1 } })
    const { caller } = await startService(environment, { command: 'start', servers: { Main: upstream.url } })
    const keys = createKeys('sq')
    const store = createJobStore({ redis: environment.redis, keys, queueEntries: recordsOnly, dial: fillDial })
    const { id } = await caller.post('/api/v2/generate', submission('Main')) as { id: string }
    await until(async () => (await store.get(id)).status === 'completed', 'an ordinary job is completed')
    return await store.get(id)
  })
}
