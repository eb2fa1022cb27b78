import { PythonError } from '../fastapi/errors.ts'
import { profiles } from './flavors.ts'
import type { GenerationRequest } from '../a1111/request-model.ts'
import type { SimulatorSettings } from './settings.ts'

/** How long a process takes from opening its port until it is complete, in milliseconds. */
export interface StartTimes {
  /** The port is open and the API is not there. A1111 with its user interface exits when a request comes meanwhile. */
  bareMilliseconds: number
  /** Then the API is there, without the default arguments of scripts and the routes that extensions add. */
  mountMilliseconds: number
}

export type StartPhase = 'bare' | 'mounting' | 'complete'

export interface Start {
  /** The port is open now. */
  opened (): void
  phase (): StartPhase
  /** Whether a request ends the process now. */
  isFragile (): boolean
}

/** Where the API runs without the user interface, its port opens last. */
export function createStart (
  { flavor, internalProgress }: SimulatorSettings, { bareMilliseconds, mountMilliseconds }: StartTimes
): Start {
  const isWhole = flavor === 'sdcpp' || !internalProgress
  let openedAt: number | null = null

  function phase (): StartPhase {
    if (isWhole || openedAt === null) return 'complete'
    const age = performance.now() - openedAt
    if (age < bareMilliseconds) return 'bare'
    return age < bareMilliseconds + mountMilliseconds ? 'mounting' : 'complete'
  }

  return {
    opened () { openedAt = performance.now() },
    phase,
    isFragile: () => profiles[flavor].isFragile && phase() === 'bare'
  }
}

/** Routes that extensions add when the server says that it has started. */
const lastMounted = /^\/(sdapi\/v1\/(refresh-)?loras|controlnet\/.*)$/

/** Whether a route is not there in this phase. */
export function isUnmounted (phase: StartPhase, path: string): boolean {
  if (phase === 'bare') return /^\/(sdapi|controlnet|openapi\.json)/.test(path)
  return phase === 'mounting' && lastMounted.test(path)
}

/** What a request trips over whose scripts have no default arguments yet. @throws PythonError */
export function tripOverMissingArguments (
  phase: StartPhase, { script_name: script, alwayson_scripts: alwaysOn }: GenerationRequest
): void {
  if (phase !== 'mounting') return
  const given = Object.values(alwaysOn ?? {}) as Array<{ readonly args?: readonly unknown[] } | null>
  if (given.some(one => (one?.args?.length ?? 0) > 0)) {
    throw new PythonError('IndexError', 'list assignment index out of range')
  }
  if (typeof script === 'string' && script !== '') {
    throw new PythonError('TypeError', 'Script.run() missing 18 required positional arguments: ' +
      "'x_type', 'x_values', 'x_values_dropdown', 'y_type', 'y_values', and 'y_values_dropdown'")
  }
}
