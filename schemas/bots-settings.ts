import { type Static, Type } from '@sinclair/typebox'
import { Warning } from './generation-parameters.ts'
import { needing, Nullable, Ref, StringEnum, WithDefaults } from './kit.ts'

const texts = (description: string, example: string[]) =>
  Type.Array(Type.String({ maxLength: 500 }), { description, examples: [example], maxItems: 200 })
const text = (description: string, example: string) =>
  Type.String({ description, examples: [example], maxLength: 20_000 })
const strengths = (description: string) => Type.Array(Type.Number({ minimum: -10, maximum: 10 }), {
  description, minItems: 2, maxItems: 2, examples: [[0.6, 1]]
})
const file = text('File name, with its extension if known; for use in a session.', 'character_lora.safetensors')
const civitaiId = Nullable(Type.Integer(), { description: 'Model id at Civitai.' })
const thumbnail = Nullable(Type.String({ maxLength: 2000 }), {
  description: 'Address of a picture; it answers 404 if the server has none.', examples: ['/api/v1/models/12/preview']
})

export const LoraInfo = Type.Object({
  filename: file,
  name: text('Name for people.', 'Character Lora'),
  tags: texts('What it is about.', ['anime', 'character']),
  trigger_words: texts('Words that bring it out.', ['charactername']),
  strength_range: strengths('Weights that work well, from and to.'),
  description: Nullable(Type.String(), { description: 'Plain text.' }),
  thumbnail,
  civitai_id: civitaiId,
  id: Type.Integer({ description: 'In the catalogue of models.' }),
  path: Type.String({ description: 'Within the folder of LoRAs.', examples: ['people/character_lora.safetensors'] }),
  base_model: Nullable(Type.String(), { description: 'What it was made for, where known.' }),
  preferred_weight: Nullable(Type.Number(), { description: 'The weight that its owner wrote down.' }),
  servers: Type.Array(Type.String(), { description: 'Aliases of the servers that have it.' }),
  edited: Type.Array(Type.String(), { description: 'Fields edited here; no scan changes them.' }),
  score: Type.Optional(Type.Number({ description: 'With a search: how well it fits. 2 and more: the text is contained as it is.' }))
}, { $id: 'LoraInfo', description: 'A LoRA.' })
export type LoraInfo = Static<typeof LoraInfo>

export const LoraQuery = Type.Object({
  search: Type.Optional(Type.String({ maxLength: 200, description: 'Text out of name, file, tags, trigger words or description. Misspelled words are found where nothing contains them as they are.', examples: ['character'] })),
  limit: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000, default: 50, description: 'How many.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000_000, default: 0, description: 'How many are passed over.' })),
  tag: Type.Optional(Type.String({ maxLength: 200, description: 'Only those with this tag.' })),
  base_model: Type.Optional(Type.String({ maxLength: 100, description: 'Only those made for this.', examples: ['SDXL'] })),
  server: Type.Optional(Type.String({ maxLength: 64, description: 'Only those that the server with this alias has.' }))
})
export type LoraQuery = Static<typeof LoraQuery>

export const LoraList = Type.Object({
  loras: Type.Array(Ref(LoraInfo), { description: 'By name, or best first.' }),
  total: Type.Integer({ description: 'How many are in this answer.' }),
  total_available: Type.Integer({ description: 'How many fit in all.' })
}, { $id: 'LoraList', description: 'LoRAs.' })

export const LoraChoices = Type.Object({
  choices: Type.Array(Type.Object({
    name: Type.String({ maxLength: 100, description: 'What to show.' }),
    value: Type.String({ maxLength: 100, description: 'Name for use in a session.' })
  }), { description: 'At most 25, as Discord shows no more.' })
}, { $id: 'LoraChoices', description: 'Completions as Discord wants them.' })

export const LoraTags = Type.Object({
  tags: Type.Array(Type.Object({
    tag: Type.String({ description: 'The tag.' }),
    count: Type.Integer({ description: 'How many LoRAs have it.' })
  }), { description: 'Most used first.' })
}, { $id: 'LoraTags', description: 'Tags of LoRAs.' })

export const LoraScan = Type.Object({
  message: Type.String({ description: 'The same as a sentence.', examples: ['Scanned and found 12 LoRAs'] }),
  details: Type.Object({
    count: Type.Integer({ description: 'LoRAs that are known now.' }),
    new: Type.Integer({ description: 'Those that were not known before.' }),
    updated: Type.Integer({ description: 'Those of which something else is known than before.' }),
    total_scanned: Type.Integer({ description: 'LoRAs that servers named.' }),
    servers: Type.Array(Type.Object({
      alias: Type.String({ description: 'The server.' }),
      loras: Type.Integer({ description: 'LoRAs that it named.' }),
      error: Nullable(Type.String(), { description: 'Why it named none.' })
    }), { description: 'Every enabled server.' }),
    folders: Type.Boolean({ description: 'Whether a scan of the model folders runs in the background.' })
  }, { description: 'In numbers.' })
}, { $id: 'LoraScan', description: 'What a scan found.' })
export type LoraScan = Static<typeof LoraScan>

/** Null takes an edit back. */
export const LoraEdit = Type.Object({
  name: Type.Optional(Nullable(text('Name for people.', 'Character Lora'))),
  tags: Type.Optional(Nullable(texts('What it is about.', ['anime']))),
  trigger_words: Type.Optional(Nullable(texts('Words that bring it out.', ['charactername']))),
  strength_range: Type.Optional(Nullable(strengths('Weights that work well, from and to.'))),
  description: Type.Optional(Nullable(text('What it is.', 'My own character.'))),
  thumbnail: Type.Optional(thumbnail),
  civitai_id: Type.Optional(civitaiId)
}, { $id: 'LoraEdit', description: 'Edits by a person. null removes an edit.' })
export type LoraEdit = Static<typeof LoraEdit>

export const LoraReference = Type.Object({
  filename: Type.String({ minLength: 1, maxLength: 512, description: 'File name with or without ending, or its path, url-encoded.', examples: ['character_lora'] })
})

export const LoraEnrichQuery = Type.Object({
  force: Type.Optional(Type.Boolean({ default: false, description: 'Whether to ask again although an answer is stored.' }))
})

/** A time as older Pythons parse it. */
export const BotTime = (description: string) =>
  Type.String({ description: `${description} UTC, without an offset.`, examples: ['2026-11-20T12:56:37.756000'] })

const exampleLoras = { 'detail-tweaker.safetensors': 0.8 }
const weight = Type.Number({ minimum: 0.1, maximum: 2, description: 'How strongly the LoRA counts.', examples: [0.8] })
const activeLoras = Type.Record(Type.String(), weight, {
  description: 'Weights by file name, in the order in which they go into prompts.', examples: [exampleLoras]
})
const controlNetConfigs = Type.Array(Type.Record(Type.String(), Type.Unknown()), {
  description: 'ControlNet units that are used where a request brings none.',
  maxItems: 10,
  examples: [[{ model: 'control_v11p_sd15_canny', preprocessor: 'canny', weight: 0.8 }]]
})
const customSettings = Type.Record(Type.String(), Type.Unknown(), {
  description: 'Values for what a request leaves out, by the name of its field; `default_steps` and `preferred_sampler` ' +
    'mean `steps` and `sampler_name`.',
  examples: [{ preferred_sampler: 'Euler a', default_steps: 30 }]
})

export const UserSession = Type.Object({
  user_id: Type.String({ description: 'The user.', examples: ['discord-1234'] }),
  active_loras: activeLoras,
  controlnet_configs: controlNetConfigs,
  custom_settings: customSettings,
  last_updated: Nullable(BotTime('When it was changed last.'))
}, { $id: 'UserSession', description: 'What is remembered of a user.' })
export type UserSession = Static<typeof UserSession>

export const SessionLora = Type.Object({
  filename: Type.String({ description: 'LoRA, with or without its ending.', minLength: 1, maxLength: 1000, examples: ['detail-tweaker.safetensors'] }),
  weight
}, { $id: 'SessionLora', description: 'A LoRA to remember.', examples: [{ filename: 'detail-tweaker.safetensors', weight: 0.8 }] })

export type SessionLora = Static<typeof SessionLora>

export const SessionChange = WithDefaults({
  active_loras: Type.Optional(activeLoras),
  controlnet_configs: Type.Optional(controlNetConfigs),
  custom_settings: Type.Optional(customSettings)
}, {
  $id: 'SessionChange',
  description: 'Sent fields replace the stored ones; missing fields stay.',
  examples: [{ custom_settings: { preferred_sampler: 'Euler a', default_steps: 30 } }]
})
export type SessionChange = Static<typeof SessionChange>

export const ExportedUser = Type.Object({
  user_id: Type.String({ description: 'The user.', examples: ['discord-1234'] }),
  session: Type.Unsafe<UserSession>({ $ref: 'UserSession#' }),
  presets: Type.Array(Type.Record(Type.String(), Type.Unknown()), { description: 'All presets of the user.' }),
  exported_at: BotTime('When this was written.')
}, { $id: 'PortableUser', description: 'Everything of a user that can be taken elsewhere, pictures as base64.' })
export type ExportedUser = Static<typeof ExportedUser>

export const UserImport = WithDefaults({
  session: Type.Record(Type.String(), Type.Unknown(), { description: 'A session as it was exported.', default: {} }),
  presets: Type.Unknown({ description: 'A list of presets, or an object of presets by id.', default: [] })
}, {
  $id: 'UserImport',
  description: 'The result of an export, also of another service with these routes. The session replaces the ' +
    'one that is there; presets are added.',
  examples: [{ session: { active_loras: exampleLoras }, presets: [] }]
})

export const ImportAnswer = Type.Object({
  message: Type.String({ description: 'What was done.', examples: ['Imported session and 3 presets'] }),
  session: Type.Unsafe<UserSession>({ $ref: 'UserSession#' }),
  preset_ids: Type.Array(Type.String(), { description: 'New ids of the presets, in the order of the export.' })
}, { $id: 'ImportAnswer', description: 'What was taken over.' })

export const SessionAnswer = Type.Object({
  message: Type.String({ description: 'What was done.', examples: ['LoRA added to session'] }),
  session: Type.Unsafe<UserSession>({ $ref: 'UserSession#' }),
  warnings: Type.Optional(Type.Array(Ref(Warning), { description: 'Fields that were ignored.' }))
}, { $id: 'SessionAnswer', description: 'What was done, and the session as it is now.' })

export const BotMessage = Type.Object({
  message: Type.String({ description: 'What was done.', examples: ['LoRA removed from session'] })
}, { $id: 'StudioMessage', description: 'What was done.' })

const exampleConfig = { steps: 30, cfg_scale: 6, sampler_name: 'Euler a', negative_prompt: 'blurry' }
const exampleId = '2b1d6f0e-6c2a-4c57-9a63-6f3f9e8f4c11'
const name = Type.String({ description: 'What to call it; need not be the only one of its name.', minLength: 1, maxLength: 200, examples: ['Soft portraits'] })
const description = Nullable(Type.String({ maxLength: 2000 }), {
  description: 'What it is for.', default: null, examples: ['Warm light, little contrast']
})
const config = Type.Record(Type.String(), Type.Unknown(), {
  description: 'Fields of a generation request, LoRAs, ControlNet units and regions included.', examples: [exampleConfig]
})

export const presetVisibility = ['private', 'link', 'everyone'] as const
const shared = StringEnum(presetVisibility, {
  description: 'private: only its user. link: everybody with the share code. everyone: listed for all users of this service.'
})

export const Preset = Type.Object({
  preset_id: Type.String({ description: 'Id of the preset.', examples: [exampleId] }),
  name,
  description: Nullable(Type.String({ description: 'What it is for.' })),
  config,
  created_at: BotTime('When it was saved.'),
  last_used: Nullable(BotTime('When it was used last.')),
  shared,
  share_code: Nullable(Type.String({ description: 'Can replace the preset\'s id everywhere, for other users too.', examples: ['k3Vx9QmT2w'] })),
  copied_from: Nullable(Type.String({ description: 'Id of the preset that it is a copy of.' })),
  uses: Type.Integer({ description: 'How often it was used.', minimum: 0 })
}, { $id: 'StudioPreset', description: 'A saved workflow.' })
export type Preset = Static<typeof Preset>

export const PresetInput = WithDefaults({ name, description, config }, {
  $id: 'StudioPresetInput',
  description: 'A workflow to save.',
  examples: [{ name: 'Soft portraits', description: 'Warm light, little contrast', config: exampleConfig }]
})

export const PresetChange = Type.Object({
  name: Type.Optional(name),
  description: Type.Optional(Nullable(Type.String({ maxLength: 2000 }), { description: 'What it is for.' })),
  config: Type.Optional(config)
}, {
  $id: 'StudioPresetChange',
  description: 'Sent fields replace the stored ones; missing fields stay.',
  examples: [{ config: exampleConfig }]
})
export type PresetChange = Static<typeof PresetChange>

export const PresetSharing = WithDefaults({
  shared: { ...shared, default: 'link' as const }
}, { $id: 'StudioPresetSharing', description: 'Visibility of a preset.', examples: [{ shared: 'link' }] })

export const PresetCopy = Type.Object({
  code: Type.Optional(Type.String({ description: 'Share code of the preset.', maxLength: 64, examples: ['k3Vx9QmT2w'] })),
  preset_id: Type.Optional(Type.String({ description: 'Or its id, where it is shared with everyone or is this user\'s own.', maxLength: 64, examples: [exampleId] })),
  name: Type.Optional(name)
}, { ...needing(['code'], ['preset_id']), $id: 'StudioPresetCopy', description: 'A preset to copy.' })

export const PresetList = Type.Object({
  presets: Type.Array(Ref(Preset), { description: 'Oldest first.' })
}, { $id: 'StudioPresetList', description: 'Presets.' })

export const SharedPresetsQuery = Type.Object({
  search: Type.Optional(Type.String({ description: 'Words out of name or description.', maxLength: 200 })),
  limit: Type.Optional(Type.Integer({ description: 'How many.', default: 50, minimum: 1, maximum: 200 })),
  offset: Type.Optional(Type.Integer({ description: 'How many are passed over.', default: 0, minimum: 0, maximum: 1_000_000 }))
})

export const PresetSaved = Type.Object({
  message: Type.String({ description: 'What was done.', examples: ['Preset saved'] }),
  preset_id: Type.String({ description: 'Id of the preset.', examples: [exampleId] }),
  warnings: Type.Array(Ref(Warning), { description: 'Fields that were ignored.' })
}, { $id: 'StudioPresetSaved', description: 'It is saved.' })

export const PresetAnswer = Type.Object({
  message: Type.String({ description: 'What was done.', examples: ['Preset updated'] }),
  preset: Ref(Preset)
}, { $id: 'StudioPresetAnswer', description: 'What was done, and the preset as it is now.' })
