import type { CheckpointFile } from '../checkpoints.ts'
import type { StruckFaults } from '../faults/faults.ts'
import { strikeDuringStep } from '../faults/strike.ts'
import type { Bitmap } from '../images/pixels.ts'
import type { GenerationRecord } from '../records.ts'
import { loadCheckpoint, selectedCheckpoint, type ServerProcess } from '../server-process.ts'
import { nextPass } from '../state.ts'
import { createPainter, type Effects, type InitImages, type Painter } from './painter.ts'
import type { Plan } from './plan.ts'

export interface Pass {
  readonly size: { readonly width: number, readonly height: number }
  readonly steps: number
  readonly painter: Painter
  readonly faults: StruckFaults
}

/**
 * Samples one pass, step by step, until it is done, interrupted or skipped.
 *
 * @returns the share of noise that is left: 0 when all steps were done
 */
async function runSteps (server: ServerProcess, plan: Plan, pass: Pass): Promise<number> {
  const { state, timing, pace } = server
  const { painter, faults } = pass
  state.samplingSteps = pass.steps
  state.samplingStep = 0
  state.preview.draw = async () => await painter.preview(pass.size, 1 - state.samplingStep / pass.steps)
  const order = plan.sampler.options.second_order === 'True' ? 2 : 1
  const factor = faults.has('slow') ? faults.get('slow')?.factor ?? 10 : 1
  pace.restart()

  for (let step = 0; step < pass.steps; step += 1) {
    if (state.interrupted || state.skipped) return 1 - step / pass.steps
    await strikeDuringStep(server, faults, { step, steps: pass.steps })
    await pace.pass(timing.step({ ...pass.size, batch: plan.batchSize, order }) * factor)
    state.samplingStep = step
  }
  return 0
}

export interface JobResult {
  /** Finished images in order; fewer than planned when interrupted. */
  readonly bitmaps: readonly Bitmap[]
}

/**
 * Runs the iterations of one job under the job lock: load, sample, decode. Interrupts and skips are noticed
 * between steps, as in A1111, so an interrupt during loading ends the job before its first image.
 */
export async function runJob (
  server: ServerProcess, plan: Plan,
  context: {
    readonly init: InitImages | null
    readonly effects: Effects
    readonly faults: StruckFaults
    readonly record: GenerationRecord
  }
): Promise<JobResult> {
  const { state, machine } = server
  const bitmaps: Bitmap[] = []
  state.jobCount = plan.iterations * (plan.hires === null ? 1 : 2)

  for (let iteration = 0; iteration < plan.iterations; iteration += 1) {
    state.skipped = false
    if (state.interrupted || state.stoppingGeneration) break
    // A1111 looks at the selection at each iteration: a switch through /options changes the rest of the job
    await loadCheckpoint(server, selectedCheckpoint(server))
    if (plan.iterations > 1) state.job = `Batch ${iteration + 1} out of ${plan.iterations}`
    // each stage of SD.Next's is a job of its own, which begins later
    if (machine.settings.flavor === 'sdnext') state.jobTimestamp = String(Number(state.jobTimestamp) + 1)
    // while the prompt is encoded, sampling_steps still has the value of the pass before
    server.pace.restart()
    await server.pace.pass(server.timing.encode)
    const file = server.memory.loaded as CheckpointFile
    const painter = createPainter(plan, {
      model: file.name,
      iteration,
      init: context.init,
      effects: context.effects,
      isNoise: machine.settings.noise || context.faults.has('noise')
    })
    bitmaps.push(...await runIteration(server, plan, painter, context.faults))
    nextPass(state)
  }
  if (state.interrupted) context.record.interrupted = true
  return { bitmaps }
}

async function runIteration (
  server: ServerProcess, plan: Plan, painter: Painter, faults: StruckFaults
): Promise<Bitmap[]> {
  const { state } = server
  const first = { width: plan.imageWidth, height: plan.imageHeight }
  let left = await runSteps(server, plan, { size: first, steps: plan.samplingSteps, painter, faults })
  let size = first
  if (plan.hires !== null && !state.interrupted) {
    nextPass(state)
    const { width, height, steps } = plan.hires
    size = { width, height }
    left = await runSteps(server, plan, { size, steps, painter, faults })
  }
  // decoding takes about as long as a step and cannot be interrupted
  await server.pace.pass(server.timing.step({ ...size, batch: plan.batchSize, order: 1 }))
  return await painter.paint(size, left)
}
