import { type Static, Type } from '@sinclair/typebox'
import { examplePng, ImageText } from './a1111-fields.ts'
import { Nullable, StringEnum } from './kit.ts'

const names = (description: string, examples: string[]) =>
  Type.Array(Type.String(), { description, examples: [examples] })

export const ControlNetModels = Type.Object({
  models: names('Models of all servers.', ['control_v11p_sd15_canny [d14c016b]'])
}, { $id: 'ControlNetModels', description: 'ControlNet models.' })

export const ControlNetModules = Type.Object({
  modules: names('Preprocessors of all servers, as units name them.', ['canny', 'depth_midas', 'openpose_full']),
  preprocessors: names('The same under the name that units have for it.', ['canny', 'depth_midas', 'openpose_full'])
}, { $id: 'ControlNetModules', description: 'ControlNet preprocessors.' })

export const ControlNetTypes = Type.Object({
  control_types: Type.Record(Type.String(), Type.Object({
    module_list: names('Preprocessors that fit.', ['none', 'canny']),
    model_list: names('Models that fit.', ['None', 'control_v11p_sd15_canny [d14c016b]']),
    default_option: Type.String({ description: 'Preprocessor to begin with.', examples: ['canny'] }),
    default_model: Type.String({ description: 'Model to begin with.', examples: ['control_v11p_sd15_canny [d14c016b]'] })
  }), { description: 'By type, such as Canny; All has everything.' })
}, { $id: 'ControlNetTypes', description: 'Matching modules and models of ControlNet.' })
export type ControlNetTypes = Static<typeof ControlNetTypes>

const processor = (description: string) => Type.Optional(Type.String({ maxLength: 200, description, examples: ['canny'] }))
const threshold = (which: string) => Type.Optional(Nullable(Type.Number(), {
  description: `${which} threshold of the preprocessor; its own default where it is left out or does not fit.`, examples: [100]
}))

/** Everything that may stand in the query as well as in the body. */
export const PreprocessSettings = Type.Object({
  processor: processor('Preprocessor. Default: canny.'),
  preprocessor: processor('Another name for it.'),
  processor_res: Type.Optional(Type.Integer({ minimum: 64, maximum: 2048, default: 512, description: 'Resolution of the map.', examples: [512] })),
  threshold_a: threshold('First'),
  threshold_b: threshold('Second'),
  server: Type.Optional(Nullable(Type.String({ maxLength: 64 }), { description: 'Alias of the server that is to do it.', examples: ['Main'] }))
})

export const PreprocessRequest = Type.Object({
  file: ImageText({ description: 'The picture. In a form: a file.', examples: [examplePng] }),
  mask: Type.Optional(Nullable(ImageText({}), { description: 'Mask, for inpaint preprocessors.', examples: [examplePng] })),
  ...PreprocessSettings.properties
}, { $id: 'PreprocessRequest', description: 'A picture to make a control map of.' })
export type PreprocessRequest = Static<typeof PreprocessRequest>

export const PreprocessAnswer = Type.Object({
  status: StringEnum(['success', 'error'], { description: 'Whether there is a map. If a server cannot make it, the status is still 200, as clients expect.' }),
  preprocessor: Type.String({ description: 'As the server calls it.', examples: ['canny'] }),
  processed_image: Type.Optional(Type.String({ description: 'The map, as base64.' })),
  method: Type.Optional(StringEnum(['api', 'local'], { description: 'Made by a server, or exactly the same here.' })),
  poses: Type.Optional(Type.Array(Type.Unknown(), { description: 'Of openpose preprocessors: the poses that were found.' })),
  error: Type.Optional(Type.String({ description: 'Why there is no map.' }))
}, { $id: 'PreprocessAnswer', description: 'A control map, or why there is none.' })
export type PreprocessAnswer = Static<typeof PreprocessAnswer>

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
  prompt: text('Prompt of the region.', 'a knight in armor'),
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

/** Division of an image, and the content of each region. */
export const RegionalConfig = Type.Object({
  layout: StringEnum(regionalLayouts, {
    description: 'vertical is left and right, horizontal above and below, quadrants top left, top right, bottom left, ' +
      'bottom right; custom reads its regions from rows or columns.',
    examples: ['three_columns']
  }),
  common_prompt: Type.Optional(text('What all regions share, behind the prompt of the request.', 'fantasy tavern scene')),
  region1_prompt: Type.Optional(text('First region. Needed by every layout but custom.', 'knight in armor drinking')),
  region2_prompt: Type.Optional(text('Second region. Needed by every layout but custom.', 'fireplace with warm lighting')),
  region3_prompt: otherRegion('Third region; without it the first is repeated.', 'bard playing lute'),
  region4_prompt: otherRegion('Fourth region; without it the second is repeated.', 'barkeeper'),
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
}, { description: 'Regions of a picture, generated by the extension Regional Prompter.' })
export type RegionalConfig = Static<typeof RegionalConfig>
export type RegionalLora = Static<typeof RegionalLora>
