import type { JobView } from '../../schemas/job.ts'
import type { Caller } from '../environment/caller.ts'
import { withEnvironment } from '../environment/environment.ts'
import { startService } from '../environment/service.ts'
import { until } from '../environment/until.ts'
import { startUpstream } from '../environment/upstream.ts'
import { createRandom } from '../../src/simulator/random.ts'
import { median, quantile } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'error of the time that a job is said to take'

const batches = 4
const jobsPerBatch = 12
/** How many times faster than a middling graphics card the simulator is; its times scatter by 10 %. */
const speed = 6
const seed = 20_261_125
const sides = [256, 320, 384, 512]
const checkpoints = ['dreamscape-v8.safetensors', 'photon-v1.safetensors', 'toon-v3.safetensors']
const medianGoal = 0.15
const p90Goal = 0.35

/** One job as it was seen right after it was accepted, and as it ended. */
interface Outcome {
  /** Seconds from the look until its end, as was said and as it was. */
  readonly said: number
  readonly took: number
}

/**
 * Jobs of mixed sizes, steps and checkpoints come in batches. Right after each, every waiting job is asked when it will
 * end. A server that has run nothing yet says nothing, so the first batch only teaches.
 */
export async function measure (): Promise<Row[]> {
  return await withEnvironment(async environment => {
    const upstream = await startUpstream(environment, {
      kind: 'simulator', options: { speed, faultSeed: seed, checkpoints }
    })
    const { caller } = await startService(environment, { command: 'start', servers: { Main: upstream.url } })
    const random = createRandom(seed)
    const rows: Row[] = []
    for (let batch = 0; batch < batches; batch++) {
      const outcomes = await runBatch(caller, random)
      if (batch > 0) rows.push(row(batch * jobsPerBatch, outcomes))
    }
    return rows
  })
}

async function runBatch (caller: Caller, random: () => number): Promise<Outcome[]> {
  for (let count = 0; count < jobsPerBatch; count++) await caller.post('/api/v2/generate', mixedJob(random))
  const asked = Date.now()
  const { jobs: waiting } = await caller.get('/api/v2/jobs?status=pending&limit=100') as { jobs: JobView[] }
  await until(async () => {
    const counts = await Promise.all(['pending', 'processing'].map(async status =>
      (await caller.get(`/api/v2/jobs?status=${status}&limit=1`) as { total: number }).total))
    return counts.every(total => total === 0)
  }, 'all jobs have ended')
  const ended = await Promise.all(waiting.map(async ({ id }) =>
    (await caller.get(`/api/v2/jobs/${id}`) as { job: JobView }).job))
  return waiting.flatMap(({ eta_seconds: said }, index) => {
    const end = Date.parse(ended[index]?.completion_timestamp ?? '')
    return said === null ? [] : [{ said, took: (end - asked) / 1000 }]
  })
}

/** Most jobs go on with the checkpoint of the one before, as people do. */
let checkpoint = checkpoints[0]
function mixedJob (random: () => number) {
  const pick = <Value>(values: readonly Value[]) => values[Math.floor(random() * values.length)]
  if (random() < 0.3) checkpoint = pick(checkpoints)
  return {
    target_server_alias: 'Main',
    generation_params: {
      prompt: 'a lighthouse at dusk',
      width: pick(sides),
      height: pick(sides),
      steps: 10 + Math.floor(random() * 30),
      batch_size: random() < 0.2 ? 2 : 1,
      checkpoint_name: checkpoint
    }
  }
}

function row (learned: number, outcomes: readonly Outcome[]): Row {
  const errors = outcomes.map(({ said, took }) => Math.abs(said - took) / took)
  const share = (value: number) => `${(value * 100).toFixed(1)} %`
  return {
    figure: `${about}, after ${learned} jobs`,
    measured: `median ${share(median(errors))}, p90 ${share(quantile(errors, 0.9))} of ${errors.length}`,
    limit: 'server scatters by 10 %',
    ratio: (median(errors) / 0.1).toFixed(2),
    goal: `≤ ${share(medianGoal)}, p90 ≤ ${share(p90Goal)}`,
    ok: median(errors) <= medianGoal && quantile(errors, 0.9) <= p90Goal
  }
}
