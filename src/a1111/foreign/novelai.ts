import { fieldsOf, textOf, type JsonObject } from '../json-values.ts'
import { foreignText, jsonObject, sizeText, written, type ForeignText } from './foreign.ts'
import { samplerOf, schedulerOf } from './sampler-words.ts'

/** Texts of a picture by their keywords. */
type Items = ReadonlyMap<string, string>

/**
 * NovelAI: `Software: NovelAI`, the prompt as `Description`, everything else as JSON in `Comment`. Since V4 characters
 * have prompts of their own, in `v4_prompt`.
 */
export function readNovelAi (items: Items): ForeignText | null {
  const comment = jsonObject(items.get('Comment'))
  const isNamed = items.get('Software') === 'NovelAI' || /NovelAI|Stable Diffusion/.test(items.get('Source') ?? '')
  if (comment === null || !(isNamed || isNovelAiComment(comment))) return null
  const scheduler = textOf(comment.noise_schedule)
  const characters = [...captionsOf(comment.v4_prompt), ...captionsOf(comment.v4_negative_prompt)]
  return foreignText('NovelAI', {
    prompt: withCharacters(textOf(comment.prompt) ?? items.get('Description'), comment.v4_prompt),
    negativePrompt: withCharacters(comment.uc, comment.v4_negative_prompt),
    fields: {
      Steps: comment.steps,
      Sampler: samplerOf(written(comment.sampler)),
      'Schedule type': scheduler === null || scheduler === 'native' ? undefined : schedulerOf(scheduler),
      'CFG scale': comment.scale,
      Seed: comment.seed,
      Size: sizeText(comment.width, comment.height),
      'Denoising strength': comment.strength
    },
    notes: characters.length === 0 ? [] : ['The prompts of NovelAI\'s characters were appended to the prompt; their places are lost.']
  })
}

/** Whether an object is what NovelAI writes as `Comment`, for those that lost their keyword. */
export function isNovelAiComment (comment: JsonObject): boolean {
  return typeof comment.prompt === 'string' && 'uc' in comment && 'scale' in comment && 'sampler' in comment
}

function withCharacters (base: unknown, prompt: unknown): string {
  const whole = written(base)
  const caption = written(fieldsOf(fieldsOf(prompt).caption).base_caption)
  const texts = captionsOf(prompt).filter(text => !whole.includes(text))
  return [whole === '' ? caption : whole, ...texts].filter(text => text !== '').join(', ')
}

function captionsOf (prompt: unknown): string[] {
  const { char_captions: captions } = fieldsOf(fieldsOf(prompt).caption)
  if (!Array.isArray(captions)) return []
  return captions.map(one => written(fieldsOf(one).char_caption)).filter(text => text !== '')
}
