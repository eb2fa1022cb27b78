import { a1111 } from './a1111.ts'
import type { ServerKindRules } from './kind.ts'

/** Settings that only it has; those of Forge itself are gone. */
const ownOptions = ['show_rescale_cfg', 'paste_safe_guard', 'prefer_vae_precision_float16', 'fp8_fast']

/** Forge Classic, from before Forge had modules: A1111's payload, and samplers with their schedule in the name. */
export const forgeClassic: ServerKindRules = {
  ...a1111,
  isSeenIn: ({ options }) => ownOptions.some(name => name in options),
  requestFields (mode, parameters) {
    const { scheduler: _, hr_scheduler: __, ...fields } = a1111.requestFields(mode, parameters)
    return fields
  },
  takesSchedulers: false,
  dividesLatents: false
}
