import {
  commonFields, denoisingFields, hiresFields, img2imgFields, namesOf, scriptFields
} from '../../../schemas/a1111-fields.ts'
import { picked } from '../field-values.ts'
import type { ServerKindRules } from './kind.ts'

// Settings go apart, in the server's own names.
const { override_settings: _, ...plainFields } = commonFields
const everywhere = namesOf({ ...plainFields, ...denoisingFields, ...scriptFields }, ({ only }) => only === undefined)
const hires = namesOf(hiresFields, ({ only }) => only === undefined)
const img2img = namesOf(img2imgFields, ({ only }) => only === undefined)

/** AUTOMATIC1111's own web UI, 1.10 and before; a server that answers like none of the others counts as one. */
export const a1111: ServerKindRules = {
  isSeenIn: () => true,
  requestFields (mode, parameters) {
    const ofMode = mode === 'img2img' ? img2img : parameters.enable_hr === true ? hires : []
    return picked(parameters, [...everywhere, ...ofMode])
  },
  // A1111 answers 500 to settings that it does not have.
  overrideSettings: settings =>
    Object.fromEntries(Object.entries(settings).filter(([name]) => !name.startsWith('forge_'))),
  requestModel: 'a1111',
  restoresOverrides: 'saved',
  offersExtras: true,
  listsModules: false,
  vaeRoutes: ['/sdapi/v1/sd-vae', '/sdapi/v1/sd-modules'],
  loraName: ({ name }) => name,
  // A1111 accepts both and shows labels.
  schedulerName: ({ name, label }) => label === '' ? name : label,
  defaultSampler: 'Euler a',
  // Its built-in extension for LoRAs adds them; before, scripts have no default arguments.
  mountedLast: ['loras'],
  // it lists every file in the folder, and fails at others (guess_model_config_from_state_dict)
  families: ['SD 1', 'SD 2', 'SDXL', 'SD 3'],
  defaults: {},
  takesSchedulers: true,
  looks: { progressMs: 500, stopMs: 250, previewMs: 900 },
  emptyAnswer: 'The server answered without any image; another user has possibly interrupted the generation before it started.',
  dividesLatents: true
}
