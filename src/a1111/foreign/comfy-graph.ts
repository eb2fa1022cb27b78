import { objectOf, type JsonObject } from '../json-values.ts'

/** One node of a graph in ComfyUI's API format. */
export interface ComfyNode {
  readonly id: string
  readonly type: string
  /** Each a value, or a link `[id, output]`. */
  readonly inputs: JsonObject
}

export interface ComfyGraph {
  readonly all: readonly ComfyNode[]
  /** Nodes that turn noise into a picture. */
  readonly samplers: readonly ComfyNode[]
  /** The node that an input is linked to; null for a value. */
  linked (node: ComfyNode, input: string): ComfyNode | null
  /** The value of an input, through nodes that only hold one; undefined where it cannot be told. */
  valueOf (node: ComfyNode, input: string): unknown
  /** The first of these values that any node behind an input has. */
  valueBehind (node: ComfyNode, input: string, names: readonly string[]): unknown
  /** All nodes behind a node, the nearest first: through the named inputs of each, or all where it has none of them. */
  upstream (node: ComfyNode, inputs: readonly string[]): ComfyNode[]
  /** Whether a node that ends the graph, such as SaveImage, needs this one. */
  isShown (node: ComfyNode): boolean
}

/** No graph that people make is larger. */
const mostNodes = 5000
/** Primitive nodes behind each other. */
const deepestValue = 16
/** Inputs under which nodes that only hold a value have it, the most telling first. */
const valueInputs = [
  'value', 'string', 'text', 'Text', 'prompt', 'populated_text', 'wildcard_text', 'seed', 'noise_seed', 'int', 'float', 'number',
  'Number', 'Value', 'INT', 'FLOAT', 'STRING', 'a', 'input', 'any'
]
/** Nodes that put texts together, and what they put between. */
const textParts = [
  ['string_a', 'string_b'], ['text_a', 'text_b', 'text_c', 'text_d'], ['text1', 'text2'], ['string1', 'string2'], ['prefix', 'text', 'suffix']
]
const outputTypes = /^(?:Save|Preview)|SaveImage|Image ?Save|VideoCombine|Saver/i

export function createComfyGraph (content: JsonObject): ComfyGraph {
  const nodes = new Map<string, ComfyNode>()
  for (const [id, value] of Object.entries(content).slice(0, mostNodes)) {
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

/** Any node of whatever extension that takes what sampling needs. */
function isSampler ({ type, inputs }: ComfyNode): boolean {
  if ('guider' in inputs && 'sigmas' in inputs) return true
  const hasSeed = ['seed', 'noise_seed', 'noise'].some(name => name in inputs)
  return hasSeed && (('positive' in inputs && ('latent_image' in inputs || 'model' in inputs)) || /KSampler|SamplerCustom/i.test(type))
}
