import type { Warning } from '../../schemas/generation-parameters.ts'
import type { RegionalConfig, RegionalLora } from '../../schemas/studio-regional.ts'
import type { LoraRequest } from '../a1111/lora-tags.ts'
import { invalidField } from '../a1111/field-values.ts'
import { bareName } from '../a1111/names.ts'
import { regionalPrompter } from '../a1111/regional-keywords.ts'
import { matrixLayout, type MatrixLayout, type Region } from './regional-layout.ts'
import { firstOfEach, plainWords, refuseSignalsInTags, takeTags, type NetworkTag, type PlainText } from './regional-text.ts'

export interface RegionalRequest {
  readonly config: RegionalConfig
  readonly prompt: string
  readonly negativePrompt: string
  /** Beside the prompt, such as those of the user's session. */
  readonly loras?: readonly LoraRequest[]
}

export interface RegionalScript {
  readonly prompt: string
  readonly negativePrompt: string
  readonly script: { readonly name: typeof regionalPrompter, readonly args: RegionalArguments }
  readonly warnings: readonly Warning[]
}

/** The extension's twenty arguments in their order, as its `ui` returns them (hako-mikan, June 2025). */
export type RegionalArguments = readonly [
  active: boolean, debug: boolean, tab: 'Matrix', matrixMode: 'Columns' | 'Rows', maskMode: 'Mask', promptMode: 'Prompt',
  ratios: string, baseRatios: string, useBase: boolean, useCommon: boolean, useCommonNegative: boolean,
  calcMode: 'Attention' | 'Latent', andStaysAnd: boolean, loraInNegativeTextEncoder: string, loraInNegativeUnet: string,
  threshold: string, mask: string, loraStopStep: string, loraHiresStopStep: string, flip: boolean
]

/**
 * What to send for a picture with regions: prompts with the extension's keywords, and its arguments.
 *
 * The extension copies the common part into every region before A1111 reads its tags, so that a LoRA there would count
 * once for each region. Tags are therefore taken out of all texts. In Attention mode they act on the whole picture and
 * stand once at the very end; in Latent mode each region gets its own and the common ones.
 * @throws ServiceError `invalid_field_value` for a configuration that fits no layout, or words that cannot be kept from
 * being taken for keywords
 */
export function regionalScript (request: RegionalRequest): RegionalScript {
  const { config } = request
  const warnings: Warning[] = []
  const warn = (warning: Warning) => { warnings.push(warning) }
  const layout = matrixLayout(config)
  const mode = config.calc_mode ?? 'Attention'
  const common = commonText(request)
  const base = takeTags(config.base_prompt ?? '', 'regional_config.base_prompt')
  const regions = layout.regions.map(regionText)
  const session = (request.loras ?? []).map(lora => tagOf(lora, 'active_loras'))
  refuseSignalsInTags([...common.tags, ...base.tags, ...regions.flatMap(({ tags }) => tags), ...session],
    mode === 'Latent' ? 'divides' : 'stays')

  const cleaned = (text: string, field: string) => plainWords(text, field, 'positive', warn)
  const commonWords = cleaned(common.text, 'prompt')
  const baseWords = cleaned(base.text, 'regional_config.base_prompt')
  const words = regions.map(({ text }, index) => cleaned(text, layout.regions[index]?.field ?? 'regional_config'))
  const shared = [...common.tags, ...base.tags]
  const isLatent = mode === 'Latent'
  if (!isLatent) warnOfGlobalLoras(regions, warn)
  const own = regions.map(({ tags }) => isLatent ? firstOfEach([...tags, ...shared, ...session], warn) : [])
  const last = isLatent ? [] : firstOfEach([...shared, ...regions.flatMap(({ tags }) => tags), ...session], warn)
  const withBase = isLatent ? tagged(baseWords, firstOfEach([...shared, ...session], warn)) : baseWords
  const parts = [
    ...(commonWords === '' ? [] : [commonWords, 'ADDCOMM']),
    ...(baseWords === '' ? [] : [withBase, 'ADDBASE']),
    ...divided(words.map((text, index) => tagged(text, own[index] ?? [])), layout)
  ]
  const negative = negativeText(request, layout, baseWords !== '', warn)
  return {
    prompt: tagged(parts.filter(part => part !== '').join(' '), last),
    negativePrompt: negative.text,
    script: {
      name: regionalPrompter,
      args: [
        true, false, 'Matrix', layout.mode, 'Mask', 'Prompt', layout.ratios, String(config.base_ratio ?? 0.2),
        baseWords !== '', commonWords !== '', negative.hasCommon, mode, true, '0', '0', '0.4', '', '0', '0', false
      ]
    },
    warnings: unique(warnings)
  }
}

/** The prompt of the request before what the regions share; one text where both say the same. */
function commonText ({ prompt, config }: RegionalRequest): PlainText {
  const parts = [takeTags(prompt, 'prompt'), takeTags(config.common_prompt ?? '', 'regional_config.common_prompt')]
  return {
    text: [...new Set(parts.map(({ text }) => text).filter(text => text !== ''))].join(', '),
    tags: parts.flatMap(({ tags }) => tags)
  }
}

function regionText ({ prompt, field, loras, lorasField }: Region): PlainText {
  const { text, tags } = takeTags(prompt, field)
  return { text, tags: [...tags, ...loras.map(lora => tagOf(lora, lorasField))] }
}

function tagOf ({ name, weight = 1 }: RegionalLora, field: string): NetworkTag {
  return { name, tag: `<lora:${bareName(name)}:${weight}>`, field }
}

function tagged (text: string, tags: readonly NetworkTag[]): string {
  return [text, ...tags.map(({ tag }) => tag)].filter(part => part !== '').join(' ')
}

function divided (texts: readonly string[], { separators }: MatrixLayout): string[] {
  return texts.flatMap((text, index) => index === 0 ? [text] : [separators[index - 1] ?? '', text])
}

/**
 * A negative prompt without keywords counts in every region; with its own for each it needs as many parts as the
 * positive one, the base among them.
 */
function negativeText (
  { negativePrompt, config }: RegionalRequest, layout: MatrixLayout, hasBase: boolean, warn: (warning: Warning) => void
): { text: string, hasCommon: boolean } {
  const common = plainWords(negativePrompt.trim(), 'negative_prompt', 'negative', warn)
  const given = config.negative_regions ?? []
  if (given.length === 0) return { text: common, hasCommon: false }
  const field = 'regional_config.negative_regions'
  if (given.length !== layout.regions.length) {
    throw invalidField(field, `${field} needs ${layout.regions.length} texts, one for each region, not ${given.length}.`)
  }
  const texts = given.map((text, index) => plainWords(text.trim(), `${field}.${index}`, 'negative', warn))
  const parts = [
    ...(common === '' ? [] : [common, 'ADDCOMM']), ...(hasBase ? ['ADDBASE'] : []), ...divided(texts, layout)
  ]
  return { text: parts.filter(part => part !== '').join(' '), hasCommon: common !== '' }
}

function warnOfGlobalLoras (regions: readonly PlainText[], warn: (warning: Warning) => void): void {
  const [tag] = regions.flatMap(({ tags }) => tags)
  if (tag === undefined) return
  warn({
    code: 'regional_lora_is_global',
    message: `${tag.name} changes the whole picture, not its region alone; calc_mode Latent keeps LoRAs to regions.`,
    field: tag.field
  })
}

function unique (warnings: readonly Warning[]): Warning[] {
  return [...new Map(warnings.map(warning => [warning.message, warning])).values()]
}
