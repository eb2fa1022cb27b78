import { withFloatsOf } from '../lib/exact-json.ts'

type Info = Readonly<Record<string, unknown>>

/** Prompts of a job as its record has them anyway. */
export interface Prompts {
  readonly prompt?: unknown
  readonly negative_prompt?: unknown
}

/** Stands at the beginning of an infotext for the prompt; no text of A1111 begins so. */
const promptMark = '\u0001'

/** Fields of `info` that repeat a prompt, and the lists that repeat it for every image. */
const repeated = [
  { field: 'prompt', list: 'all_prompts', of: 'prompt' },
  { field: 'negative_prompt', list: 'all_negative_prompts', of: 'negative_prompt' }
] as const

/**
 * A1111's `info` without what it repeats of the prompts, which is most of it: a finished job takes a good deal less
 * memory. `unpackInfo` restores it exactly.
 */
export function packInfo (info: Info, prompts: Prompts): Info {
  const packed: Record<string, unknown> = withFloatsOf(info, { ...info })
  for (const { field, list, of } of repeated) {
    const text = prompts[of]
    if (typeof text !== 'string') continue
    if (packed[field] === text) packed[field] = 0
    const all = packed[list]
    if (Array.isArray(all) && all.every(item => item === text)) packed[list] = all.length
  }
  const { prompt } = prompts
  if (typeof prompt === 'string' && prompt !== '' && Array.isArray(packed.infotexts)) {
    packed.infotexts = packed.infotexts.map((text: unknown) =>
      typeof text === 'string' && text.startsWith(prompt) ? promptMark + text.slice(prompt.length) : text)
  }
  return packed
}

/** What `packInfo` was given. */
export function unpackInfo (packed: Info, prompts: Prompts): Info {
  const info: Record<string, unknown> = withFloatsOf(packed, { ...packed })
  for (const { field, list, of } of repeated) {
    const text = prompts[of]
    if (info[field] === 0) info[field] = text
    const count = info[list]
    if (typeof count === 'number') info[list] = Array.from({ length: count }, () => text)
  }
  if (Array.isArray(info.infotexts)) {
    info.infotexts = info.infotexts.map((text: unknown) =>
      typeof text === 'string' && text.startsWith(promptMark) ? String(prompts.prompt) + text.slice(1) : text)
  }
  return info
}
