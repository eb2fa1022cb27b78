import type { RegionalConfig, RegionalLora } from '../../schemas/bots-extensions.ts'
import type { Warning } from '../../schemas/generation-parameters.ts'
import { invalidField } from '../a1111/field-values.ts'
import type { LoraRequest } from '../a1111/lora-tags.ts'
import { bareName } from '../a1111/names.ts'
import {
  type AndMeaning, capitalWords, networkTag, regionalPrompter, signalIn, signalInName, signalWords
} from '../a1111/regional.ts'

/** One region of the layout. */
interface Region {
  readonly prompt: string
  readonly field: string
  readonly loras: readonly RegionalLora[]
  readonly lorasField: string
}

/** A layout in the terms of the Regional Prompter's matrix. */
interface MatrixLayout {
  /** `Columns` has rows outside and columns inside them, `Rows` the reverse. */
  readonly mode: 'Columns' | 'Rows'
  readonly ratios: string
  readonly regions: readonly Region[]
  /** Separator before each region but the first. */
  readonly separators: ReadonlyArray<'ADDCOL' | 'ADDROW'>
}

/** Each outer line with its share and the shares of its regions. */
type Lines = ReadonlyArray<{
  readonly ratio: number
  readonly shares: readonly number[]
  readonly regions: readonly Region[]
}>

/**
 * The matrix for a configuration. Missing regions of the five named layouts repeat the first two.
 * @throws ServiceError `invalid_field_value` or `missing_required_field` naming the field that does not fit the layout
 */
function matrixLayout (config: RegionalConfig): MatrixLayout {
  if (config.layout === 'custom') return customLayout(config)
  refuse(config, ['rows', 'columns'], 'belongs to the layout custom')
  if (config.layout === 'quadrants') return quadrants(config)
  refuse(config, ['row_ratios'], 'belongs to the layout quadrants')
  const count = { vertical: 2, horizontal: 2, three_columns: 3, four_columns: 4 }[config.layout]
  const shares = sharesOf(config, 'ratios', count)
  const regions = namedRegions(config, count)
  const one = [{ ratio: 1, shares, regions }]
  return config.layout === 'horizontal' ? compile('Rows', one) : compile('Columns', one)
}

function quadrants (config: RegionalConfig): MatrixLayout {
  const shares = sharesOf(config, 'ratios', 2)
  const regions = namedRegions(config, 4)
  return compile('Columns', sharesOf(config, 'row_ratios', 2).map((ratio, row) =>
    ({ ratio, shares, regions: regions.slice(2 * row, 2 * row + 2) })))
}

function customLayout (config: RegionalConfig): MatrixLayout {
  refuse(config, ['ratios', 'row_ratios', 'region1_prompt', 'region2_prompt', 'region3_prompt', 'region4_prompt'],
    'belongs to the other layouts; custom has it in rows or columns')
  const { rows, columns } = config
  if (rows != null && columns != null) {
    throw invalidField('regional_config.columns', 'A custom layout has either rows or columns, not both.')
  }
  const [name, given] = rows != null ? ['rows', rows] as const : ['columns', columns] as const
  if (given == null || given.length === 0) {
    throw invalidField('regional_config.rows', 'The layout custom needs rows, or columns, with their cells.')
  }
  const lines = given.map(({ ratio = 1, cells }, line) => ({
    ratio,
    shares: cells.map(cell => cell.ratio ?? 1),
    regions: cells.map(({ prompt, loras }, cell) => {
      const field = `regional_config.${name}.${line}.cells.${cell}`
      return { prompt, field: `${field}.prompt`, loras: loras ?? [], lorasField: `${field}.loras` }
    })
  }))
  if (lines.flatMap(({ regions }) => regions).length < 2) {
    throw invalidField(`regional_config.${name}`, 'A picture with regions needs at least two of them.')
  }
  return compile(name === 'rows' ? 'Columns' : 'Rows', lines)
}

/**
 * One line needs no ratio of its own. More become `its share, shares of its regions` each, with the other sign between
 * them: in `Columns` mode `,` inside and `;` outside, in `Rows` mode the reverse.
 */
function compile (mode: MatrixLayout['mode'], lines: Lines): MatrixLayout {
  const [inside, outside] = mode === 'Columns' ? [',', ';'] : [';', ',']
  const [first] = lines
  const ratios = lines.length === 1 && first !== undefined
    ? first.shares.join(',')
    : lines.map(({ ratio, shares }) => [ratio, ...shares].join(inside)).join(outside)
  const [between, next] = mode === 'Columns' ? ['ADDCOL', 'ADDROW'] as const : ['ADDROW', 'ADDCOL'] as const
  return {
    mode,
    ratios,
    regions: lines.flatMap(({ regions }) => regions),
    separators: lines.flatMap(({ regions }) => regions.map((_, index) => index === 0 ? next : between)).slice(1)
  }
}

function namedRegions (config: RegionalConfig, count: number): Region[] {
  const first = namedRegion(config, 1)
  const second = namedRegion(config, 2)
  if (first === null || second === null) {
    const field = `regional_config.region${first === null ? 1 : 2}_prompt`
    throw invalidField(field, `${field} is needed by the layout ${config.layout}.`)
  }
  return [first, second, namedRegion(config, 3) ?? first, namedRegion(config, 4) ?? second].slice(0, count)
}

function namedRegion (config: RegionalConfig, number: 1 | 2 | 3 | 4): Region | null {
  const prompt = config[`region${number}_prompt`]
  if (prompt == null) return null
  const field = `regional_config.region${number}`
  return { prompt, field: `${field}_prompt`, loras: config[`region${number}_loras`] ?? [], lorasField: `${field}_loras` }
}

function sharesOf (config: RegionalConfig, name: 'ratios' | 'row_ratios', count: number): readonly number[] {
  const shares = config[name] ?? Array.from({ length: count }, () => 1)
  if (shares.length === count) return shares
  const field = `regional_config.${name}`
  throw invalidField(field, `${field} needs ${count} numbers for the layout ${config.layout}, not ${shares.length}.`)
}

function refuse (config: RegionalConfig, names: ReadonlyArray<keyof RegionalConfig>, reason: string): void {
  const name = names.find(name => config[name] != null)
  if (name !== undefined) throw invalidField(`regional_config.${name}`, `regional_config.${name} ${reason}.`)
}

/** A tag such as `<lora:name:0.8>`, removed from its text. */
interface NetworkTag {
  readonly name: string
  /** As it is written in a prompt. */
  readonly tag: string
  /** The input that it came from. */
  readonly field: string
}

interface PlainText {
  /** Without tags. */
  readonly text: string
  readonly tags: readonly NetworkTag[]
}

export type Warn = (warning: Warning) => void

/** The text without its tags, and the tags. */
function takeTags (given: string, field: string): PlainText {
  const tags = [...given.matchAll(networkTag)].map(match => ({ name: (match[1] ?? '').trim(), tag: match[0], field }))
  if (tags.length === 0) return { text: given.trim(), tags }
  return { text: tidied(given.replace(networkTag, ' ')), tags }
}

/** The text without the empty parts that the removal left in it. */
function tidied (text: string): string {
  return text.split(',').map(part => part.trim().replace(/ +/g, ' ')).filter(part => part !== '').join(', ')
}

/** The first tag of each name. */
function firstOfEach (tags: readonly NetworkTag[], warn: Warn): NetworkTag[] {
  const kept = new Map<string, NetworkTag>()
  for (const one of tags) {
    const name = bareName(one.name).toLowerCase()
    const first = kept.get(name)
    if (first === undefined) kept.set(name, one)
    else if (first.tag !== one.tag) {
      warn({ code: 'lora_named_twice', message: `${one.name} is in the prompt twice; ${first.tag} counts.`, field: one.field })
    }
  }
  return [...kept.values()]
}

/** A keyword as a word of its own; the matrix's keywords match in any case. */
const wholeKeyword = /(?<![\p{L}\p{N}_])(?:BREAK|ADDCOMM|ADDBASE|[Aa][Dd][Dd](?:[Cc][Oo][Ll]|[Rr][Oo][Ww]|[Pp]))(?![\p{L}\p{N}_])/gu

/**
 * A client's words without any keyword of the Regional Prompter, which matches inside words too. Words in capitals
 * become lower case if that is enough, as CLIP reads both alike.
 * @param side in the positive prompt, lower case does not help for some words
 * @throws ServiceError `invalid_field_value` for a word that cannot be written otherwise
 */
function plainWords (given: string, field: string, side: 'positive' | 'negative', warn: Warn): string {
  const warned = new Set<string>()
  const parted = given.replace(wholeKeyword, word => {
    if (side === 'negative' && word !== word.toUpperCase()) return word
    if (!warned.has(word)) warn({ code: 'regional_keyword_removed', message: `${word} divides a prompt into regions, so ${field} has a comma in its place.`, field })
    warned.add(word)
    return ','
  })
  const text = parted.replace(/[\p{L}\p{N}_]+/gu, word => {
    if (side === 'positive' && signalWords.test(word)) throw unwritable(word, field)
    if (!capitalWords.test(word)) return word
    if (word === 'AND' && !warned.has(word)) {
      warned.add(word)
      warn({ code: 'regional_keyword_removed', message: `AND mixes whole pictures, so ${field} has a small "and" in its place.`, field })
    }
    return word.toLowerCase()
  })
  return parted === given ? text : tidied(text)
}

/**
 * The names of tags stay, since they are names of files; a keyword in one cannot be hidden from the Regional Prompter.
 * @throws ServiceError `invalid_field_value`
 */
function refuseSignalsInTags (tags: readonly NetworkTag[], and: AndMeaning): void {
  for (const { tag, name, field } of tags) {
    const signal = signalIn(tag, and)
    if (signal !== null) throw signalInName(name, signal, field)
  }
}

function unwritable (word: string, field: string) {
  return invalidField(field, `${field} contains the word "${word}", in which the Regional Prompter finds ` +
    `"${signalWords.exec(word)?.[0] ?? word}", an order of its own. Write it otherwise.`)
}

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
 * Prompts with the extension's keywords, and its arguments, for an image with regions.
 * The extension copies the common part into every region before A1111 reads its tags, so that a LoRA there would count
 * once for each region. All tags are therefore removed from the texts. In Attention mode they act on the whole image
 * and come once at the very end; in Latent mode each region gets its own and the common ones.
 * @throws ServiceError `invalid_field_value` for a configuration that fits no layout, or words that would be taken for
 * keywords
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

/** The prompt of the request before the common part of the regions; one text if both are equal. */
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
 * positive one, including the base.
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
