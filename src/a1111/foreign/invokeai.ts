import { fieldsOf, numberOf, textOf, type JsonObject } from '../json-values.ts'
import { foreignText, jsonObject, sizeText, written, type ForeignLora, type ForeignText } from './foreign.ts'
import { samplerOf, schedulerOf } from './sampler-words.ts'

/** InvokeAI: `invokeai_metadata` since 3.0, `sd-metadata` in 2.x, and before that a command line under `Dream`. */
export function readInvokeAi (items: ReadonlyMap<string, string>): ForeignText | null {
  const content = jsonObject(items.get('invokeai_metadata'))
  if (content !== null) return readMetadata(content)
  const old = jsonObject(items.get('sd-metadata'))
  if (old !== null) return readOldMetadata(old)
  const command = items.get('Dream')
  return command === undefined ? null : readCommand(command)
}

export function isInvokeAi (content: JsonObject): boolean {
  return typeof content.positive_prompt === 'string' && ('scheduler' in content || 'cfg_scale' in content || 'app_version' in content)
}

export function readMetadata (content: JsonObject): ForeignText {
  const skipped = numberOf(content.clip_skip)
  return foreignText('InvokeAI', {
    prompt: joined(content.positive_prompt, content.positive_style_prompt),
    negativePrompt: joined(content.negative_prompt, content.negative_style_prompt),
    loras: lorasOf(content.loras),
    fields: {
      Steps: content.steps,
      ...samplerFields(written(content.scheduler)),
      'CFG scale': content.cfg_scale,
      'Distilled CFG Scale': content.guidance,
      Seed: content.seed,
      Size: sizeText(content.width, content.height),
      Model: nameOf(content.model),
      VAE: nameOf(content.vae),
      // the number of layers that are left out, where A1111 counts the layer that is taken
      'Clip skip': skipped === null || skipped === 0 ? undefined : skipped + 1,
      'Denoising strength': content.strength ?? undefined
    }
  })
}

function readOldMetadata (content: JsonObject): ForeignText {
  const image = fieldsOf(content.image)
  const parts = Array.isArray(image.prompt)
    ? image.prompt.map(part => written(fieldsOf(part).prompt))
    : [written(image.prompt)]
  const { positive, negative } = splitNegative(parts.filter(part => part !== '').join(', '))
  return foreignText('InvokeAI', {
    prompt: positive,
    negativePrompt: negative,
    fields: {
      Steps: image.steps,
      ...samplerFields(written(image.sampler)),
      'CFG scale': image.cfg_scale,
      Seed: image.seed,
      Size: sizeText(image.width, image.height),
      Model: content.model_weights,
      'Denoising strength': image.strength
    }
  })
}

/** `"a cat [dog]" -s 50 -S 42 -W 512 -H 768 -C 7.5 -A k_lms` */
function readCommand (command: string): ForeignText | null {
  const [, quoted = '', rest = ''] = /^\s*"((?:[^"\\]|\\.)*)"(.*)$/s.exec(command) ?? []
  const option = (letter: string) => new RegExp(`(?:^|\\s)-${letter}\\s*(\\S+)`).exec(rest)?.[1]
  if (rest === '' || option('s') === undefined) return null
  const { positive, negative } = splitNegative(quoted.replace(/\\(.)/g, '$1'))
  return foreignText('InvokeAI', {
    prompt: positive,
    negativePrompt: negative,
    fields: {
      Steps: option('s'),
      ...samplerFields(option('A') ?? ''),
      'CFG scale': option('C'),
      Seed: option('S'),
      Size: sizeText(option('W'), option('H'))
    }
  })
}

/** InvokeAI 2 has the negative prompt in square brackets inside the prompt. */
function splitNegative (prompt: string): { positive: string, negative: string } {
  const negatives = [...prompt.matchAll(/\[([^[\]]*)\]/g)].map(([, text = '']) => text.trim())
  const positive = prompt.replace(/\[[^[\]]*\]/g, ' ').replace(/\s{2,}/g, ' ').trim()
  return { positive, negative: negatives.join(', ') }
}

/** A `_k` behind the sampler is Karras' schedule. */
function samplerFields (name: string): Record<string, string> {
  const isKarras = name.endsWith('_k')
  return {
    Sampler: samplerOf(isKarras ? name.slice(0, -2) : name),
    ...(isKarras ? { 'Schedule type': schedulerOf('karras') } : {})
  }
}

/** The style prompt of SDXL repeats the prompt, unless somebody wrote one. */
function joined (prompt: unknown, style: unknown): string {
  const [first, second] = [written(prompt), written(style)]
  return second === '' || second === first ? first : `${first}, ${second}`
}

function nameOf (model: unknown): string | undefined {
  const fields = fieldsOf(model)
  return textOf(fields.name) ?? textOf(fields.model_name) ?? undefined
}

function lorasOf (loras: unknown): ForeignLora[] {
  return (Array.isArray(loras) ? loras : []).flatMap((entry): ForeignLora[] => {
    const { lora, model, weight } = fieldsOf(entry)
    const name = nameOf(model) ?? nameOf(lora)
    return name === undefined ? [] : [{ name, weight }]
  })
}
