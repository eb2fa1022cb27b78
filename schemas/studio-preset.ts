import { Type, type Static } from '@sinclair/typebox'
import { Warning } from './generation-parameters.ts'
import { Nullable, Ref, StringEnum, WithDefaults } from './kit.ts'
import { StudioTime } from './studio-session.ts'

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
  created_at: StudioTime('When it was saved.'),
  last_used: Nullable(StudioTime('When it was used last.')),
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
}, { $id: 'StudioPresetCopy', description: 'A preset to copy.' })

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
