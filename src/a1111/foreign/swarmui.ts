import { fieldsOf, textOf, textsOf, type JsonObject } from '../json-values.ts'
import { foreignText, sizeText, written, type ForeignLora, type ForeignText } from './foreign.ts'
import { samplerOf, schedulerOf } from './sampler-words.ts'

/** SwarmUI (and StableSwarmUI) writes JSON with `sui_image_params` under `parameters` or as EXIF comment. */
export function isSwarmUi (content: JsonObject): boolean {
  return typeof content.sui_image_params === 'object' && content.sui_image_params !== null
}

export function readSwarmUi (content: JsonObject): ForeignText {
  const params = fieldsOf(content.sui_image_params)
  const clipLayer = Number(params.clipstopatlayer)
  const vae = textOf(params.vae)
  return foreignText('SwarmUI', {
    prompt: params.prompt,
    negativePrompt: params.negativeprompt,
    loras: lorasOf(params),
    fields: {
      Steps: params.steps,
      Sampler: samplerOf(written(params.sampler ?? params.comfyuisampler)),
      'Schedule type': schedulerOf(written(params.scheduler ?? params.comfyuischeduler)),
      'CFG scale': params.cfgscale,
      'Distilled CFG Scale': params.fluxguidancescale,
      Seed: params.seed,
      Size: sizeText(params.width, params.height),
      Model: params.model,
      VAE: vae === null || /^(?:automatic|none)$/i.test(vae) ? undefined : vae,
      'Clip skip': clipLayer < 0 ? -clipLayer : undefined,
      'Variation seed': params.variationseed,
      'Variation seed strength': params.variationseedstrength,
      'Denoising strength': params.initimagecreativity
    },
    notes: params.refinerupscale === undefined && params.refinermodel === undefined
      ? []
      : ['SwarmUI\'s refining step is left out.']
  })
}

/** Names and weights stand in two lists, which older versions write as text with commas. */
function lorasOf (params: JsonObject): ForeignLora[] {
  const listOf = (value: unknown): unknown[] => Array.isArray(value) ? value : written(value).split(',').filter(part => part !== '')
  const weights = listOf(params.loraweights)
  return textsOf(listOf(params.loras)).map((name, index) => ({ name, weight: weights[index] }))
}
