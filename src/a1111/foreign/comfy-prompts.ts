import type { ComfyGraph, ComfyNode } from './comfy-graph.ts'
import { written } from './foreign.ts'

export interface ComfyPrompt {
  readonly text: string
  /** Of distilled models such as Flux. */
  readonly guidance: unknown
}

type Side = 'positive' | 'negative'

/** Inputs by which conditioning goes through nodes that only change it. */
const through = [
  'conditioning', 'conditioning_1', 'conditioning_2', 'conditioning_to', 'conditioning_from', 'conditioning1', 'conditioning2', 'cond',
  'base_positive', 'input', 'any', 'value', ''
]
/** Inputs of text encoders: one text, or one for each encoder of SDXL, SD 3, Flux, Hunyuan, HiDream and Lumina. */
const encoded = [
  'text', 'prompt', 'populated_text', 'text_g', 'text_l', 'clip_g', 'clip_l', 't5xxl', 'llama', 'bert', 'mt5xl', 'user_prompt', 'tags', 'lyrics'
]
const mostNodes = 200

/** The text that reaches one side of a sampler or guider; null where it cannot be followed. */
export function promptOf (graph: ComfyGraph, start: ComfyNode, side: Side): ComfyPrompt | null {
  const [first] = [side, ...side === 'positive' ? ['conditioning'] : []].filter(input => start.inputs[input] !== undefined)
  if (first === undefined) return null
  const entry = graph.linked(start, first)
  if (entry === null) return typeof start.inputs[first] === 'string' ? { text: start.inputs[first], guidance: undefined } : null
  const texts: string[] = []
  const seen = new Set<ComfyNode>()
  let guidance: unknown
  let isFollowed = false
  const open = [entry]
  while (open.length > 0 && seen.size < mostNodes) {
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
  // loaders that take both prompts as text
  if (typeof own === 'string') return [own]
  const inputs = encoded.filter(input => node.inputs[input] !== undefined)
  if (inputs.length === 0 || (graph.linked(node, 'conditioning') !== null && !('clip' in node.inputs))) return null
  return inputs.map(input => written(graph.valueOf(node, input)))
}
