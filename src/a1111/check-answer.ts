import type { Warning } from '../../schemas/generation-parameters.ts'
import { outputSize } from './limits.ts'
import { bareName, folded } from './names.ts'
import type { GenerationAnswer } from './types.ts'

/** What was asked of the server, as admitted for it. */
export interface AskedGeneration {
  readonly parameters: Readonly<Record<string, unknown>>
  readonly checkpointTitle: string | null
}

/** How many images the parameters ask for. */
export function imagesAsked (parameters: Readonly<Record<string, unknown>>): number {
  return outputSize(parameters).images
}

/**
 * Where a server did something else than it was asked to. It answers 200 all the same, and only `info` tells.
 * What `info` does not mention is not a difference.
 */
export function checkAnswer (asked: AskedGeneration, answer: GenerationAnswer): Warning[] {
  const info = answer.info ?? {}
  return [
    differentCheckpoint(asked.checkpointTitle, info),
    differentSampler(asked.parameters.sampler_name, info.sampler_name),
    differentSeed(asked.parameters.seed, info.seed),
    fewerImages(asked, answer, info)
  ].filter(warning => warning !== null)
}

type Info = Readonly<Record<string, unknown>>

function differentCheckpoint (title: string | null, info: Info): Warning | null {
  if (title === null) return null
  const [, name = title, hash] = /^(.*?)\s*(?:\[([0-9a-f]+)\])?$/i.exec(title) ?? []
  const usedHash = textOrNull(info.sd_model_hash)
  const usedName = textOrNull(info.sd_model_name)
  const same = hash !== undefined && usedHash !== null
    ? sameHash(hash, usedHash)
    : usedName === null || sameName(name, usedName)
  return same ? null : { code: 'different_checkpoint', message: `The server drew with ${usedName ?? usedHash}, not with ${title}.`, field: 'checkpoint_name' }
}

function sameHash (one: string, other: string): boolean {
  const [short, long] = [one.toLowerCase(), other.toLowerCase()].toSorted((a, b) => a.length - b.length)
  return short !== undefined && long?.startsWith(short) === true
}

/** The server names the file without folder and ending; some name the folder too, joined by `_`. */
function sameName (title: string, used: string): boolean {
  const names = [bareName(title), bareName(title.replace(/[\\/]/g, '_'))].map(name => name.toLowerCase())
  return names.includes(bareName(used).toLowerCase())
}

function differentSampler (asked: unknown, used: unknown): Warning | null {
  if (typeof asked !== 'string' || typeof used !== 'string' || used === '' || folded(asked) === folded(used)) return null
  return { code: 'different_sampler', message: `The server used the sampler ${used}, not ${asked}.`, field: 'sampler_name' }
}

function differentSeed (asked: unknown, used: unknown): Warning | null {
  if (typeof asked !== 'number' || typeof used !== 'number' || asked === used) return null
  return { code: 'different_seed', message: `The server used the seed ${used}, not ${asked}.`, field: 'seed' }
}

/** More than asked is usual, since scripts and ControlNet add theirs. */
function fewerImages (asked: AskedGeneration, { imageCount }: GenerationAnswer, info: Info): Warning | null {
  const before = typeof info.index_of_first_image === 'number' ? info.index_of_first_image : 0
  const made = Math.max(0, imageCount - before)
  const wanted = imagesAsked(asked.parameters)
  if (made >= wanted) return null
  return { code: 'fewer_images', message: `The server made ${made} of ${wanted} images; somebody may have interrupted it.`, field: 'batch_size' }
}

function textOrNull (value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}
