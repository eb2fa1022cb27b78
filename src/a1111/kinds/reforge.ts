import { definedOnly, picked } from '../field-values.ts'
import { a1111 } from './a1111.ts'
import type { ServerKindRules } from './kind.ts'

/**
 * reForge: A1111's API over Forge's backend of before. Its second pass runs at CFG 1 unless the request says otherwise.
 */
export const reforge: ServerKindRules = {
  ...a1111,
  isSeenIn: ({ options }) => Object.keys(options).some(name => /^reforge_|^dynamic_clip_skip_/.test(name)),
  requestFields (mode, parameters) {
    const fields = a1111.requestFields(mode, parameters)
    if (mode !== 'txt2img' || parameters.enable_hr !== true) return fields
    return { ...fields, ...definedOnly<unknown>({ hr_cfg: parameters.cfg_scale }), ...picked(parameters, ['hr_cfg']) }
  },
  dividesLatents: false
}
