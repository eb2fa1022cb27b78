import { fieldsOf, objectOf, textOf, type JsonObject } from '../json-values.ts'
import { createComfyGraph, type ComfyGraph, type ComfyNode } from './comfy-graph.ts'
import { promptOf } from './comfy-prompts.ts'
import { foreignText, sizeText, written, type ForeignLora, type ForeignText } from './foreign.ts'
import { samplerOf, schedulerOf } from './sampler-words.ts'

/** ComfyUI writes the graph that it ran (its API format) as JSON under `prompt`. */
export function isComfyGraph (content: JsonObject): boolean {
  const nodes = Object.values(content)
  return nodes.length > 0 && nodes.some(node => typeof fieldsOf(node).class_type === 'string')
}

/** Whether it is the drawing of a graph as the editor keeps it, which does not say what ran. */
export function isComfyWorkflow (content: JsonObject): boolean {
  return Array.isArray(content.nodes) && Array.isArray(content.links)
}

/** Null where nothing in the graph samples. */
export function readComfyUi (content: JsonObject): ForeignText | null {
  const graph = createComfyGraph(content)
  const sampler = firstSampler(graph)
  if (sampler === null) return null
  const guider = graph.linked(sampler, 'guider') ?? sampler
  const positive = promptOf(graph, guider, 'positive')
  const negative = promptOf(graph, guider, 'negative')
  const { checkpoint, loras } = modelOf(graph, guider.inputs.model === undefined ? sampler : guider)
  const latent = latentOf(graph, sampler)
  const layer = Number(graph.all.find(node => node.type === 'CLIPSetLastLayer')?.inputs.stop_at_clip_layer)
  const denoise = Number(graph.valueOf(sampler, 'denoise') ?? graph.valueBehind(sampler, 'sigmas', ['denoise']))
  const notes = [
    ...positive === null ? ['The prompt of this ComfyUI graph comes from unknown nodes.'] : [],
    ...graph.samplers.length > 1 ? ['Only the first of several sampling steps of the ComfyUI graph is read.'] : [],
    ...latent === null ? ['The ComfyUI graph starts from a picture, which is not part of the file.'] : []
  ]
  return foreignText('ComfyUI', {
    prompt: positive?.text,
    negativePrompt: negative?.text,
    loras,
    fields: {
      Steps: graph.valueOf(sampler, 'steps') ?? graph.valueBehind(sampler, 'sigmas', ['steps']),
      Sampler: samplerOf(written(samplerName(graph, sampler))),
      'Schedule type': schedulerOf(written(schedulerName(graph, sampler))),
      'CFG scale': graph.valueOf(sampler, 'cfg') ?? graph.valueOf(guider, 'cfg'),
      'Distilled CFG Scale': positive?.guidance,
      Seed: graph.valueOf(sampler, 'seed') ?? graph.valueOf(sampler, 'noise_seed') ??
        graph.valueBehind(sampler, 'noise', ['noise_seed', 'seed']),
      Size: latent === null ? '' : sizeText(latent.width, latent.height),
      Model: checkpoint,
      'Clip skip': layer < 0 ? -layer : undefined,
      'Denoising strength': latent === null && denoise < 1 ? denoise : undefined
    },
    notes
  })
}

/** The sampler that begins: with several, the one whose latent picture comes from no other. */
function firstSampler (graph: ComfyGraph): ComfyNode | null {
  const shown = graph.samplers.filter(node => graph.isShown(node))
  const candidates = shown.length > 0 ? shown : graph.samplers
  const isFirst = (node: ComfyNode) => !graph.upstream(node, latentInputs).some(other => candidates.includes(other))
  return candidates.find(isFirst) ?? candidates[0] ?? null
}

const latentInputs = ['latent_image', 'latent', 'samples', 'optional_latent']
const samplerTypes: Readonly<Record<string, string>> = {
  SamplerEulerAncestral: 'euler_ancestral',
  SamplerEulerAncestralCFGPP: 'euler_ancestral',
  SamplerDPMPP_2M_SDE: 'dpmpp_2m_sde',
  SamplerDPMPP_3M_SDE: 'dpmpp_3m_sde',
  SamplerDPMPP_SDE: 'dpmpp_sde',
  SamplerDPMPP_2S_Ancestral: 'dpmpp_2s_ancestral',
  SamplerLMS: 'lms',
  SamplerDPMAdaptative: 'dpm_adaptive'
}
const schedulerTypes: Readonly<Record<string, string>> = {
  KarrasScheduler: 'karras',
  ExponentialScheduler: 'exponential',
  PolyexponentialScheduler: 'polyexponential',
  AlignYourStepsScheduler: 'ays',
  BetaSamplingScheduler: 'beta'
}

function samplerName (graph: ComfyGraph, sampler: ComfyNode): unknown {
  const type = graph.linked(sampler, 'sampler')?.type ?? ''
  return graph.valueOf(sampler, 'sampler_name') ?? graph.valueBehind(sampler, 'sampler', ['sampler_name']) ?? samplerTypes[type]
}

function schedulerName (graph: ComfyGraph, sampler: ComfyNode): unknown {
  const type = graph.linked(sampler, 'sigmas')?.type ?? ''
  return graph.valueOf(sampler, 'scheduler') ?? graph.valueBehind(sampler, 'sigmas', ['scheduler']) ?? schedulerTypes[type]
}

const checkpointInputs = ['ckpt_name', 'unet_name', 'model_name', 'model_path', 'base_ckpt_name']

/** Goes from the sampler along its model to the loader, past the LoRAs, which apply in the other order. */
function modelOf (graph: ComfyGraph, start: ComfyNode): { checkpoint: string | undefined, loras: ForeignLora[] } {
  const loras: ForeignLora[] = []
  let checkpoint: string | undefined
  for (const node of graph.upstream(start, ['model'])) {
    loras.unshift(...lorasOf(graph, node))
    const names = checkpointInputs.map(input => textOf(graph.valueOf(node, input)))
    checkpoint ??= names.find(name => name !== null) ?? undefined
  }
  return { checkpoint: checkpoint?.replace(/\\+/g, '/'), loras }
}

/** One LoRA of the usual loader, or all of a stack: as objects, or as `lora_name_1` beside `lora_wt_1`. */
function lorasOf (graph: ComfyGraph, node: ComfyNode): ForeignLora[] {
  const weightOf = (...names: string[]) =>
    names.map(name => graph.valueOf(node, name)).find(value => typeof value === 'number')
  return Object.keys(node.inputs).flatMap((input): ForeignLora[] => {
    const entry = objectOf(node.inputs[input])
    if (entry !== null && typeof entry.lora === 'string') {
      return entry.on === false || entry.lora === 'None' ? [] : [{ name: entry.lora, weight: entry.strength }]
    }
    const [, number] = /^lora(?:_name)?(?:_(\d+))?$/.exec(input) ?? []
    const name = /^lora/.test(input) ? textOf(graph.valueOf(node, input)) : null
    if (name === null || name === 'None' || !/^lora(?:_name)?(?:_\d+)?$/.test(input)) return []
    const weight = number === undefined
      ? weightOf('strength_model', 'lora_model_strength', 'strength', 'lora_strength')
      : weightOf(`strength_${number}`, `lora_wt_${number}`, `model_str_${number}`, `model_weight_${number}`)
    return weight === 0 ? [] : [{ name, weight }]
  })
}

/** Null where the graph starts from a picture. */
function latentOf (graph: ComfyGraph, sampler: ComfyNode): { width: unknown, height: unknown } | null {
  const nodes = graph.upstream(sampler, latentInputs)
  for (const node of nodes) {
    const width = graph.valueOf(node, 'width') ?? graph.valueOf(node, 'empty_latent_width')
    const height = graph.valueOf(node, 'height') ?? graph.valueOf(node, 'empty_latent_height')
    if (!/upscale|resize|scale/i.test(node.type) && Number(width) > 0 && Number(height) > 0) return { width, height }
  }
  return nodes.some(({ type }) => /LoadImage|VAEEncode/i.test(type)) ? null : { width: undefined, height: undefined }
}
