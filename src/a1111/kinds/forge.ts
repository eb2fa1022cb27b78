import { commonFields, hiresFields, namesOf } from '../../../schemas/a1111-fields.ts'
import type { A1111Parameters } from '../../../schemas/generation-parameters.ts'
import { definedOnly, picked } from '../field-values.ts'
import { a1111 } from './a1111.ts'
import type { ServerKindRules } from './kind.ts'

const always = namesOf(commonFields, ({ only }) => only === 'forge')
const hires = namesOf(hiresFields, ({ only }) => only === 'forge')

/** lllyasviel's Forge. */
export const forge: ServerKindRules = {
  ...a1111,
  isSeenIn: ({ options }) => 'forge_preset' in options,
  requestFields: (mode, parameters) => ({
    ...a1111.requestFields(mode, parameters),
    ...picked(parameters, always),
    ...(mode === 'txt2img' && parameters.enable_hr === true ? withUsualHires(parameters) : {})
  }),
  overrideSettings: withModules,
  requestModel: 'forge',
  // Forge has modules, VAEs and text encoders together, in place of VAEs.
  listsModules: true,
  vaeRoutes: a1111.vaeRoutes.toReversed(),
  mountedLast: ['loras', 'embeddings'],
  families: null,
  dividesLatents: false
}

/** Forge fails on hires fix without modules, and its second pass otherwise runs at CFG 1. */
function withUsualHires (parameters: A1111Parameters): Record<string, unknown> {
  const { cfg_scale: cfg, distilled_cfg_scale: distilled } = parameters
  const usual = definedOnly<unknown>({ hr_cfg: cfg, hr_distilled_cfg: distilled, hr_additional_modules: ['Use same choices'] })
  return { ...usual, ...picked(parameters, hires) }
}

/** Forge keeps the VAE in a list together with text encoders; an empty list takes the ones inside the checkpoint. */
function withModules ({ sd_vae: vae, ...settings }: Readonly<Record<string, unknown>>): Record<string, unknown> {
  if (vae === undefined || settings.forge_additional_modules !== undefined) return settings
  const inside = vae === 'Automatic' || vae === 'None'
  return { ...settings, forge_additional_modules: inside ? [] : [vae] }
}
