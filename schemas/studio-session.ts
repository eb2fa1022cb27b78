import { Type, type Static } from '@sinclair/typebox'
import { Warning } from './generation-parameters.ts'
import { Nullable, Ref, WithDefaults } from './kit.ts'

/** A moment as older Pythons parse it. */
export const StudioTime = (description: string) =>
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
  last_updated: Nullable(StudioTime('When it was changed last.'))
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

export const PortableUser = Type.Object({
  user_id: Type.String({ description: 'The user.', examples: ['discord-1234'] }),
  session: Type.Unsafe<UserSession>({ $ref: 'UserSession#' }),
  presets: Type.Array(Type.Record(Type.String(), Type.Unknown()), { description: 'All presets of the user.' }),
  exported_at: StudioTime('When this was written.')
}, { $id: 'PortableUser', description: 'Everything of a user that can be taken elsewhere, pictures as base64.' })
export type PortableUser = Static<typeof PortableUser>

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

export const StudioMessage = Type.Object({
  message: Type.String({ description: 'What was done.', examples: ['LoRA removed from session'] })
}, { $id: 'StudioMessage', description: 'What was done.' })
