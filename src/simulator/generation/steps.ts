import type { StruckFaults } from '../faults/faults.ts'
import { strikeDuringStep } from '../faults/strike.ts'
import type { ServerProcess } from '../server-process.ts'
import type { Painter } from './painter.ts'
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
export async function runSteps (server: ServerProcess, plan: Plan, pass: Pass): Promise<number> {
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
