import { fieldsOf, type JsonObject, objectOf, textOf } from '../../lib/json-values.ts'
import {
  type ForeignLora, foreignText, type ForeignText, samplerOf, schedulerOf, sizeText, written
} from './foreign.ts'

/** One node of a graph in ComfyUI's API format. */
interface ComfyNode {
  readonly id: string
  readonly type: string
  /** Each a value, or a link `[id, output]`. */
  readonly inputs: JsonObject
}

interface ComfyGraph {
  readonly all: readonly ComfyNode[]
  /** Nodes that turn noise into an image. */
  readonly samplers: readonly ComfyNode[]
  /** The node that an input is linked to; null for a value. */
  linked (node: ComfyNode, input: string): ComfyNode | null
  /** The value of an input, through nodes that only hold one; undefined if it cannot be determined. */
  valueOf (node: ComfyNode, input: string): unknown
  /** The first of these values that any node behind an input has. */
  valueBehind (node: ComfyNode, input: string, names: readonly string[]): unknown
  /** All nodes behind a node, the nearest first: through the named inputs of each, or all where it has none of them. */
  upstream (node: ComfyNode, inputs: readonly string[]): ComfyNode[]
  /** Whether a node that ends the graph, such as SaveImage, needs this one. */
  isShown (node: ComfyNode): boolean
}

/** Graphs of real users are smaller. */
const maxNodes = 5000
/** Maximum number of chained primitive nodes. */
const deepestValue = 16
/** Inputs in which value nodes hold their value, the most specific first. */
const valueInputs = [
  'value', 'string', 'text', 'Text', 'prompt', 'populated_text', 'wildcard_text', 'seed', 'noise_seed', 'int', 'float', 'number',
  'Number', 'Value', 'INT', 'FLOAT', 'STRING', 'a', 'input', 'any'
]
/** Nodes that join texts, and their separators. */
const textParts = [
  ['string_a', 'string_b'], ['text_a', 'text_b', 'text_c', 'text_d'], ['text1', 'text2'], ['string1', 'string2'], ['prefix', 'text', 'suffix']
]
const outputTypes = /^(?:Save|Preview)|SaveImage|Image ?Save|VideoCombine|Saver/i

function createComfyGraph (content: JsonObject): ComfyGraph {
  const nodes = new Map<string, ComfyNode>()
  for (const [id, value] of Object.entries(content).slice(0, maxNodes)) {
    const { class_type: type, inputs } = objectOf(value) ?? {}
    if (typeof type === 'string') nodes.set(id, { id, type, inputs: objectOf(inputs) ?? {} })
  }
  const all = [...nodes.values()]

  function target (value: unknown): ComfyNode | null {
    const isLink = Array.isArray(value) && value.length === 2 && (typeof value[0] === 'string' || typeof value[0] === 'number')
    return isLink ? nodes.get(String(value[0])) ?? null : null
  }

  const linked = (node: ComfyNode, input: string) => target(node.inputs[input])

  function held (node: ComfyNode, depth: number): unknown {
    if (depth > deepestValue) return undefined
    const parts = textParts.find(names => names.filter(name => name in node.inputs).length > 1)
    if (parts !== undefined) {
      const { delimiter, separator } = node.inputs
      const between = [delimiter, separator].find(text => typeof text === 'string') ?? ' '
      const texts = parts.map(name => read(node, name, depth))
      return texts.filter(text => typeof text === 'string' && text !== '').join(String(between))
    }
    const name = valueInputs.find(input => node.inputs[input] !== undefined)
    const only = Object.keys(node.inputs)
    if (name !== undefined) return read(node, name, depth)
    return only.length === 1 && only[0] !== undefined ? read(node, only[0], depth) : undefined
  }

  function read (node: ComfyNode, input: string, depth: number): unknown {
    const value = node.inputs[input]
    const holder = target(value)
    if (holder !== null) return held(holder, depth + 1)
    return typeof value === 'object' ? undefined : value
  }

  function upstream (start: ComfyNode, inputs: readonly string[]): ComfyNode[] {
    const found: ComfyNode[] = []
    const seen = new Set([start])
    for (let front = [start]; front.length > 0;) {
      const next: ComfyNode[] = []
      for (const node of front) {
        const named = inputs.flatMap(input => linked(node, input) ?? [])
        const others = named.length > 0 || node === start
          ? named
          : Object.values(node.inputs).flatMap(value => target(value) ?? [])
        for (const other of others) {
          if (seen.has(other)) continue
          seen.add(other)
          found.push(other)
          next.push(other)
        }
      }
      front = next
    }
    return found
  }

  const graph: ComfyGraph = {
    all,
    samplers: all.filter(isSampler),
    linked,
    valueOf: (node, input) => read(node, input, 0),
    valueBehind (node, input, names) {
      const start = linked(node, input)
      if (start === null) return undefined
      for (const behind of [start, ...upstream(start, Object.keys(start.inputs))]) {
        const name = names.find(one => graph.valueOf(behind, one) !== undefined)
        if (name !== undefined) return graph.valueOf(behind, name)
      }
      return undefined
    },
    upstream,
    isShown: node => shown().has(node)
  }

  let ends: Set<ComfyNode> | null = null
  function shown (): Set<ComfyNode> {
    ends ??= new Set(all.filter(({ type }) => outputTypes.test(type))
      .flatMap(end => upstream(end, Object.keys(end.inputs))))
    return ends
  }
  return graph
}

/** Any node of any extension that has the inputs of sampling. */
function isSampler ({ type, inputs }: ComfyNode): boolean {
  if ('guider' in inputs && 'sigmas' in inputs) return true
  const hasSeed = ['seed', 'noise_seed', 'noise'].some(name => name in inputs)
  return hasSeed && (('positive' in inputs && ('latent_image' in inputs || 'model' in inputs)) || /KSampler|SamplerCustom/i.test(type))
}

export interface ComfyPrompt {
  readonly text: string
  /** Of distilled models such as Flux. */
  readonly guidance: unknown
}

type Side = 'positive' | 'negative'

/** Inputs through which conditioning passes in nodes that only change it. */
const through = [
  'conditioning', 'conditioning_1', 'conditioning_2', 'conditioning_to', 'conditioning_from', 'conditioning1', 'conditioning2', 'cond',
  'base_positive', 'input', 'any', 'value', ''
]
/** Inputs of text encoders: one text, or one for each encoder of SDXL, SD 3, Flux, Hunyuan, HiDream and Lumina. */
const encoded = [
  'text', 'prompt', 'populated_text', 'text_g', 'text_l', 'clip_g', 'clip_l', 't5xxl', 'llama', 'bert', 'mt5xl', 'user_prompt', 'tags', 'lyrics'
]
const maxPromptNodes = 200

/** The text that reaches one side of a sampler or guider; null if it cannot be traced. */
function promptOf (graph: ComfyGraph, start: ComfyNode, side: Side): ComfyPrompt | null {
  const [first] = [side, ...side === 'positive' ? ['conditioning'] : []].filter(input => start.inputs[input] !== undefined)
  if (first === undefined) return null
  const entry = graph.linked(start, first)
  if (entry === null) return typeof start.inputs[first] === 'string' ? { text: start.inputs[first], guidance: undefined } : null
  const texts: string[] = []
  const seen = new Set<ComfyNode>()
  let guidance: unknown
  let isFollowed = false
  const open = [entry]
  while (open.length > 0 && seen.size < maxPromptNodes) {
    const node = open.shift()
    if (node === undefined || seen.has(node)) continue
    seen.add(node)
    guidance ??= graph.valueOf(node, 'guidance')
    const found = textsOf(graph, node, side)
    if (found !== null) {
      isFollowed = true
      texts.push(...found)
      continue
    }
    const next = graph.linked(node, side) ?? null
    open.unshift(...next === null ? through.flatMap(input => graph.linked(node, input) ?? []) : [next])
  }
  return isFollowed ? { text: [...new Set(texts)].filter(text => text !== '').join(', '), guidance } : null
}

/** The texts that a node encodes; null for one that encodes none. */
function textsOf (graph: ComfyGraph, node: ComfyNode, side: Side): string[] | null {
  if (node.type === 'ConditioningZeroOut') return []
  const own = node.inputs[side]
  // loaders that accept both prompts as text
  if (typeof own === 'string') return [own]
  const inputs = encoded.filter(input => node.inputs[input] !== undefined)
  if (inputs.length === 0 || (graph.linked(node, 'conditioning') !== null && !('clip' in node.inputs))) return null
  return inputs.map(input => written(graph.valueOf(node, input)))
}

/** ComfyUI writes the graph that it ran (its API format) as JSON under `prompt`. */
export function isComfyGraph (content: JsonObject): boolean {
  const nodes = Object.values(content)
  return nodes.length > 0 && nodes.some(node => typeof fieldsOf(node).class_type === 'string')
}

/** Whether it is a graph as the editor stores it, which does not show what ran. */
export function isComfyWorkflow (content: JsonObject): boolean {
  return Array.isArray(content.nodes) && Array.isArray(content.links)
}

/** Null if nothing in the graph samples. */
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

/** The sampler that begins: with several, the one whose latent image comes from no other. */
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

/** Follows the model from the sampler to the loader, past the LoRAs, which apply in reverse order. */
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

/** Null if the graph starts from an image. */
function latentOf (graph: ComfyGraph, sampler: ComfyNode): { width: unknown, height: unknown } | null {
  const nodes = graph.upstream(sampler, latentInputs)
  for (const node of nodes) {
    const width = graph.valueOf(node, 'width') ?? graph.valueOf(node, 'empty_latent_width')
    const height = graph.valueOf(node, 'height') ?? graph.valueOf(node, 'empty_latent_height')
    if (!/upscale|resize|scale/i.test(node.type) && Number(width) > 0 && Number(height) > 0) return { width, height }
  }
  return nodes.some(({ type }) => /LoadImage|VAEEncode/i.test(type)) ? null : { width: undefined, height: undefined }
}
