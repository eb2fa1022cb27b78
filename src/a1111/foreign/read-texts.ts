import { fieldsOf, type JsonObject, numberOf, textOf, textsOf } from '../../lib/json-values.ts'
import { type Infotext, parseInfotext, writeInfotext } from '../infotext.ts'
import { isComfyGraph, isComfyWorkflow, readComfyUi } from './comfyui.ts'
import {
  type ForeignLora, foreignText, type ForeignText, jsonObject, looksLikeJson, nested, samplerOf, schedulerOf, sizeText,
  written
} from './foreign.ts'

/** Steps of Fooocus' performance modes (modules/flags.py), for files that name only the mode. */
const stepsOfMode: Readonly<Record<string, number>> = {
  quality: 60, speed: 30, 'extreme speed': 8, lightning: 4, 'hyper-sd': 4
}

/** Fooocus (scheme `fooocus`) writes JSON under `parameters`, and so does RuinedFooocus with other names. */
function isFooocus (content: JsonObject): boolean {
  const names = `${written(content.version)} ${written(content.software)}`
  return content.metadata_scheme === 'fooocus' || /fooocus/i.test(names) ||
    (typeof content.base_model === 'string' && ('performance' in content || 'guidance_scale' in content))
}

function readFooocus (content: JsonObject): ForeignText {
  const styles = stylesOf(content.styles)
  const [, width, height] = /^\D{0,4}(\d{1,6})\D{1,4}(\d{1,6})/.exec(written(content.resolution)) ?? []
  const steps = content.steps ?? stepsOfMode[written(content.performance).toLowerCase()]
  return foreignText('Fooocus', {
    prompt: written(content.prompt ?? content.Prompt) || textsOf(content.full_prompt).join(', '),
    negativePrompt: written(content.negative_prompt ?? content.Negative) || textsOf(content.full_negative_prompt).join(', '),
    loras: fooocusLoras(content),
    fields: {
      Steps: steps,
      Sampler: samplerOf(written(content.sampler ?? content.sampler_name)),
      'Schedule type': schedulerOf(written(content.scheduler)),
      'CFG scale': content.guidance_scale ?? content.cfg,
      Seed: content.seed,
      Size: width === undefined || height === undefined ? sizeOf(content) : `${width}x${height}`,
      'Model hash': content.base_model_hash,
      Model: content.base_model ?? content.base_model_name,
      'Clip skip': content.clip_skip,
      ...refinerOf(content)
    },
    notes: styles === '' ? [] : [`Fooocus' styles are left out, since no other server knows them: ${styles}.`]
  })
}

function sizeOf ({ width, height }: JsonObject): string {
  return width === undefined || height === undefined ? '' : `${written(width)}x${written(height)}`
}

function refinerOf (content: JsonObject): Record<string, unknown> {
  const name = textOf(content.refiner_model)
  return name === null || name === 'None' ? {} : { Refiner: name, 'Refiner switch at': content.refiner_switch }
}

/** `['Fooocus V2', 'Fooocus Sharp']` as text, or as a list. */
function stylesOf (styles: unknown): string {
  const text = Array.isArray(styles) ? textsOf(styles).join(', ') : written(styles).replace(/^\[|\]$|'/g, '')
  return text.trim()
}

/** `loras: [[name, weight, hash]]`, and in newer files `lora_combined_1: "name : weight"` as well. */
function fooocusLoras (content: JsonObject): ForeignLora[] {
  const list = Array.isArray(content.loras) ? content.loras : []
  const listed = list.flatMap((entry): ForeignLora[] => {
    const [name, weight] = Array.isArray(entry) ? entry as unknown[] : []
    return typeof name === 'string' && name !== 'None' ? [{ name, weight }] : []
  })
  if (listed.length > 0) return listed
  return Object.entries(content).flatMap(([key, value]): ForeignLora[] => {
    const [, name, weight] = /^lora_combined_\d+$/.test(key) ? /^([^:]*[^:\s])\s*:\s*([\d.+-]+)/.exec(written(value)) ?? [] : []
    return name === undefined || numberOf(Number(weight)) === null ? [] : [{ name, weight }]
  })
}

/** InvokeAI: `invokeai_metadata` since 3.0, `sd-metadata` in 2.x, and before that a command line under `Dream`. */
function readInvokeAi (items: ReadonlyMap<string, string>): ForeignText | null {
  const content = jsonObject(items.get('invokeai_metadata'))
  if (content !== null) return readMetadata(content)
  const old = jsonObject(items.get('sd-metadata'))
  if (old !== null) return readOldMetadata(old)
  const command = items.get('Dream')
  return command === undefined ? null : readCommand(command)
}

function isInvokeAi (content: JsonObject): boolean {
  return typeof content.positive_prompt === 'string' && ('scheduler' in content || 'cfg_scale' in content || 'app_version' in content)
}

function readMetadata (content: JsonObject): ForeignText {
  const skipped = numberOf(content.clip_skip)
  return foreignText('InvokeAI', {
    prompt: joined(content.positive_prompt, content.positive_style_prompt),
    negativePrompt: joined(content.negative_prompt, content.negative_style_prompt),
    loras: invokeLoras(content.loras),
    fields: {
      Steps: content.steps,
      ...samplerFields(written(content.scheduler)),
      'CFG scale': content.cfg_scale,
      'Distilled CFG Scale': content.guidance,
      Seed: content.seed,
      Size: sizeText(content.width, content.height),
      Model: nameOf(content.model),
      VAE: nameOf(content.vae),
      // the number of skipped layers, whereas A1111 counts the used layer
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

/** A `_k` after the sampler means Karras' schedule. */
function samplerFields (name: string): Record<string, string> {
  const isKarras = name.endsWith('_k')
  return {
    Sampler: samplerOf(isKarras ? name.slice(0, -2) : name),
    ...(isKarras ? { 'Schedule type': schedulerOf('karras') } : {})
  }
}

/** The style prompt of SDXL repeats the prompt, unless the user wrote one. */
function joined (prompt: unknown, style: unknown): string {
  const [first, second] = [written(prompt), written(style)]
  return second === '' || second === first ? first : `${first}, ${second}`
}

function nameOf (model: unknown): string | undefined {
  const fields = fieldsOf(model)
  return textOf(fields.name) ?? textOf(fields.model_name) ?? undefined
}

function invokeLoras (loras: unknown): ForeignLora[] {
  return (Array.isArray(loras) ? loras : []).flatMap((entry): ForeignLora[] => {
    const { lora, model, weight } = fieldsOf(entry)
    const name = nameOf(model) ?? nameOf(lora)
    return name === undefined ? [] : [{ name, weight }]
  })
}

/** Texts of an image by their keywords. */
type Items = ReadonlyMap<string, string>

/**
 * NovelAI: `Software: NovelAI`, the prompt as `Description`, everything else as JSON in `Comment`. Since V4 characters
 * have prompts of their own, in `v4_prompt`.
 */
function readNovelAi (items: Items): ForeignText | null {
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

/** Whether an object is a NovelAI `Comment`, for those that lost their keyword. */
function isNovelAiComment (comment: JsonObject): boolean {
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

/** SwarmUI (and StableSwarmUI) writes JSON with `sui_image_params` under `parameters` or as EXIF comment. */
function isSwarmUi (content: JsonObject): boolean {
  return typeof content.sui_image_params === 'object' && content.sui_image_params !== null
}

function readSwarmUi (content: JsonObject): ForeignText {
  const params = fieldsOf(content.sui_image_params)
  const clipLayer = Number(params.clipstopatlayer)
  const vae = textOf(params.vae)
  return foreignText('SwarmUI', {
    prompt: params.prompt,
    negativePrompt: params.negativeprompt,
    loras: swarmLoras(params),
    fields: {
      Steps: params.steps,
      Sampler: samplerOf(written(params.sampler ?? params.comfyuisampler)),
      'Schedule type': schedulerOf(written(params.scheduler ?? params.comfyuischeduler)),
      'CFG scale': params.cfgscale,
      'Distilled CFG Scale': params.fluxguidancescale,
      Seed: params.seed,
      Size: sizeText(params.width, params.height),
      Model: params.model,
      VAE: vae === null || /^(?:automatic|none)$/i.test(vae) ? undefined : vae,
      'Clip skip': clipLayer < 0 ? -clipLayer : undefined,
      'Variation seed': params.variationseed,
      'Variation seed strength': params.variationseedstrength,
      'Denoising strength': params.initimagecreativity
    },
    notes: params.refinerupscale === undefined && params.refinermodel === undefined
      ? []
      : ['SwarmUI\'s refining step is left out.']
  })
}

/** Names and weights are in two lists, which older versions write as text with commas. */
function swarmLoras (params: JsonObject): ForeignLora[] {
  const listOf = (value: unknown): unknown[] => Array.isArray(value) ? value : written(value).split(',').filter(part => part !== '')
  const weights = listOf(params.loraweights)
  return textsOf(listOf(params.loras)).map((name, index) => ({ name, weight: weights[index] }))
}

/** Texts of an image by the keywords of PNG; an EXIF comment and a text without keyword count as `parameters`. */
export type ImageTexts = ReadonlyMap<string, string>

/** The known parameters of an image. */
export interface GenerationText {
  /** The program that wrote it; null if nothing could be read. */
  readonly source: string | null
  /** As A1111 writes it; empty if nothing could be read. */
  readonly text: string
  readonly infotext: Infotext | null
  /** Parts that could not be read or have no counterpart here, one sentence each. */
  readonly notes: readonly string[]
}

/** Reads the text of any known program; null if there is none. */
export function readTexts (items: ImageTexts): GenerationText | null {
  const parameters = items.get('parameters')
  if (parameters !== undefined && parameters.trim() !== '' && !looksLikeJson(parameters)) {
    return { source: 'A1111', text: parameters, infotext: parseInfotext(parameters), notes: [] }
  }
  const whole = jsonObject(parameters)
  const found = (whole === null ? null : readObject(whole)) ??
    readNovelAi(items) ?? readInvokeAi(items) ?? readGraph(items) ?? readObject(jsonObject(items.get('Comment')) ?? {})
  if (found !== null) return { ...found, text: writeInfotext(found.infotext) }
  const problem = problemOf(items, whole)
  return problem === null ? null : { source: null, text: '', infotext: null, notes: [problem] }
}

/** The same for one text without an image. @returns null for text that is not JSON, such as A1111's */
export function readForeignText (text: string): GenerationText | null {
  return looksLikeJson(text) ? readTexts(new Map([['parameters', text]])) : null
}

/** By the fields that only one program writes. */
function readObject (content: JsonObject): ForeignText | null {
  if (isSwarmUi(content)) return readSwarmUi(content)
  if (isInvokeAi(content)) return readMetadata(content)
  if (isFooocus(content)) return readFooocus(content)
  if (isNovelAiComment(content)) return readNovelAi(new Map([['Comment', JSON.stringify(content, bigAsText)]]))
  if (isComfyGraph(content)) return readComfyUi(content)
  const inner = nested(content.prompt)
  if (isComfyGraph(inner)) return readComfyUi(inner)
  return typeof content.Comment === 'string' ? readNovelAi(textsIn(content)) : null
}

/** Stealth texts hold all items of a PNG as one object. */
function textsIn (content: JsonObject): ImageTexts {
  return new Map(Object.entries(content).filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}

function bigAsText (_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}

function readGraph (items: ImageTexts): ForeignText | null {
  const graph = jsonObject(items.get('prompt'))
  return graph !== null && isComfyGraph(graph) ? readComfyUi(graph) : null
}

function problemOf (items: ImageTexts, whole: JsonObject | null): string | null {
  const graph = jsonObject(items.get('prompt')) ?? whole ?? {}
  if (isComfyGraph(graph)) return 'Nothing can be read from this ComfyUI graph: no step in it samples.'
  const workflow = jsonObject(items.get('workflow')) ?? whole ?? {}
  if (isComfyWorkflow(workflow)) {
    return 'Nothing can be read from this ComfyUI workflow, since the graph that ran is not beside it.'
  }
  const named = [...items].find(([, text]) => looksLikeJson(text))?.[0]
  return named === undefined
    ? null
    : `Nothing can be read from the text ${named}: it is JSON of no program that is known here.`
}
