import { Type, type Static } from '@sinclair/typebox'
import { Nullable, StringEnum } from './kit.ts'

export const regionalLayouts = ['vertical', 'horizontal', 'three_columns', 'four_columns', 'quadrants', 'custom'] as const
export type RegionalLayout = (typeof regionalLayouts)[number]

const text = (description: string, example: string) =>
  Type.String({ maxLength: 100_000, description, examples: [example] })
const otherRegion = (description: string, example: string) => Type.Optional(Nullable(text(description, example)))
/** Share of a row, column or region; only its relation to its neighbours counts. */
const ratio = { minimum: 0.01, maximum: 1000 }
const ratios = (description: string, example: number[]) => Type.Optional(Nullable(
  Type.Array(Type.Number(ratio), { minItems: 1, maxItems: 16, description, examples: [example] })))

export const RegionalLora = Type.Object({
  name: Type.String({ minLength: 1, maxLength: 1000, description: 'Name of the LoRA, with or without ending.', examples: ['knight_armor'] }),
  weight: Type.Optional(Type.Number({ minimum: -10, maximum: 10, default: 1, description: 'How strongly it counts.', examples: [0.8] }))
}, { description: 'A LoRA of one region.' })

const loras = (of: string) => Type.Optional(Nullable(Type.Array(RegionalLora, {
  maxItems: 16,
  description: `LoRAs of ${of}. With calc_mode Latent they keep to it; otherwise they change the whole picture.`,
  examples: [[{ name: 'knight_armor', weight: 0.8 }]]
})))

export const RegionalCell = Type.Object({
  ratio: Type.Optional(Type.Number({ ...ratio, default: 1, description: 'Its share of its row, or of its column.', examples: [2] })),
  prompt: text('What to draw in it.', 'a knight in armor'),
  loras: loras('the region')
}, { description: 'One region of a custom layout.' })

const line = (of: string, share: string) => Type.Array(Type.Object({
  ratio: Type.Optional(Type.Number({ ...ratio, default: 1, description: `Its share of the picture's ${share}.`, examples: [1] })),
  cells: Type.Array(RegionalCell, { minItems: 1, maxItems: 16, description: 'Its regions in their order.' })
}), {
  minItems: 1,
  maxItems: 16,
  description: `Of a custom layout: its ${of}.`,
  examples: [[{ ratio: 1, cells: [{ prompt: 'sky' }] }, { ratio: 2, cells: [{ prompt: 'a knight' }, { prompt: 'a bard' }] }]]
})

/** How a picture is divided, and what goes where. */
export const RegionalConfig = Type.Object({
  layout: StringEnum(regionalLayouts, {
    description: 'vertical is left and right, horizontal above and below, quadrants top left, top right, bottom left, ' +
      'bottom right; custom takes its regions from rows or columns.',
    examples: ['three_columns']
  }),
  common_prompt: Type.Optional(text('What all regions share, behind the prompt of the request.', 'fantasy tavern scene')),
  region1_prompt: Type.Optional(text('First region. Needed by every layout but custom.', 'knight in armor drinking')),
  region2_prompt: Type.Optional(text('Second region. Needed by every layout but custom.', 'fireplace with warm lighting')),
  region3_prompt: otherRegion('Third region; without it the first stands there again.', 'bard playing lute'),
  region4_prompt: otherRegion('Fourth region; without it the second stands there again.', 'barkeeper'),
  region1_loras: loras('the first region'),
  region2_loras: loras('the second region'),
  region3_loras: loras('the third region'),
  region4_loras: loras('the fourth region'),
  ratios: ratios('Widths of the columns in relation to each other; of horizontal the heights of the rows.', [2, 1, 1]),
  row_ratios: ratios('Heights of the two rows of quadrants in relation to each other.', [1, 2]),
  rows: Type.Optional(Nullable(line('rows from top to bottom', 'height'))),
  columns: Type.Optional(Nullable(line('columns from left to right', 'width'))),
  base_prompt: otherRegion('Drawn everywhere and mixed into every region.', 'wooden interior'),
  base_ratio: Type.Optional(Type.Number({
    minimum: 0, maximum: 1, default: 0.2, description: 'Share of base_prompt in every region.', examples: [0.2]
  })),
  negative_regions: Type.Optional(Nullable(Type.Array(text('What to keep out of one region.', 'people'), {
    maxItems: 64,
    description: 'What to keep out of each region, as many as there are regions; the negative prompt of the request ' +
      'counts in all of them.',
    examples: [['people', 'smoke']]
  }))),
  calc_mode: Type.Optional(StringEnum(['Attention', 'Latent'], {
    default: 'Attention',
    description: 'Latent is slower and keeps LoRAs to their regions.',
    examples: ['Attention']
  }))
}, { description: 'Regions of a picture, drawn by the extension Regional Prompter.' })
export type RegionalConfig = Static<typeof RegionalConfig>
export type RegionalLora = Static<typeof RegionalLora>
