import type { A1111Parameters, Warning } from '../../schemas/generation-parameters.ts'
import { type ErrorCode, ServiceError } from '../lib/errors.ts'
import { nearest } from './names.ts'
import type { NormalisedParameters } from './parameters.ts'
import type { Inventory, ServerTraits } from './types.ts'

/** How to treat a name that the server does not have: refuse it, or omit it with a warning. */
export type OnMissing = 'refuse' | 'ignore'

export interface Compatibility {
  /** With the server's own exact names. */
  readonly parameters: A1111Parameters
  /** The server's own exact title; null leaves the choice to the server. */
  readonly checkpointTitle: string | null
  readonly warnings: readonly Warning[]
}

/** One name to be found at a server. */
export interface Search<Found> {
  readonly wanted: string
  readonly field: string
  readonly code: ErrorCode
  /** Its kind in words, such as `checkpoint`. */
  readonly noun: string
  readonly find: () => Found | null
  /** The server's names of this kind, for an error. */
  readonly candidates: () => readonly string[]
}

/** Looks up a name; null if it is missing and can be omitted. */
export type ResolveName = <Found>(search: Search<Found>) => Found | null

export type Listed = Inventory['missing'][number]

/** The lists in which names of each kind are looked up. */
const listsOf: Readonly<Record<string, readonly Listed[]>> = {
  checkpoint: ['checkpoints'],
  sampler: ['samplers'],
  scheduler: ['schedulers'],
  upscaler: ['upscalers', 'latentUpscaleModes'],
  VAE: ['vaes'],
  LoRA: ['loras'],
  style: ['styles'],
  script: ['scripts'],
  'ControlNet model': ['controlNetModels'],
  'ControlNet module': ['controlNetModules']
}

export type CompatibilityRequest = Pick<NormalisedParameters, 'mode' | 'parameters' | 'checkpoint' | 'hints' | 'unnamed'>

/** A server as the compatibility check sees it. */
export interface CheckedServer {
  readonly inventory: Inventory
  readonly traits: Pick<ServerTraits, 'kind' | 'simulates' | 'capabilities' | 'missingRoutes'>
}

/**
 * Looks names up for one request.
 * @param noteMissing gets the lists in which a name was not found
 */
export function createNameResolver (
  onMissing: OnMissing, warn: (warning: Warning) => void, noteMissing: (lists: readonly Listed[]) => void
): ResolveName {
  return ({ wanted, field, code, noun, find, candidates }) => {
    try {
      const found = find()
      if (found !== null) return found
      noteMissing(listsOf[noun] ?? [])
      throw missing(wanted, field, code, noun, candidates())
    } catch (error) {
      if (onMissing === 'refuse' || !(error instanceof ServiceError)) throw error
      warn({ code: error.code, message: `${error.message} It was left out.`, field })
      return null
    }
  }
}

function missing (wanted: string, field: string, code: ErrorCode, noun: string, candidates: readonly string[]) {
  const { sentence, near } = sentenceOfMissing(wanted, noun, candidates)
  return new ServiceError(code, sentence, { field, nearest: near })
}

export function sentenceOfMissing (wanted: string, noun: string, candidates: readonly string[]) {
  const near = nearest(wanted, candidates)
  const advice = near.length === 0 ? '' : ` Nearest: ${near.join(', ')}.`
  return { sentence: `The server has no ${noun} "${wanted.slice(0, 200)}".${advice}`, near }
}
