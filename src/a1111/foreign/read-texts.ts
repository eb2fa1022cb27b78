import { parseInfotext, writeInfotext, type Infotext } from '../infotext.ts'
import type { JsonObject } from '../json-values.ts'
import { isComfyGraph, isComfyWorkflow, readComfyUi } from './comfyui.ts'
import { isFooocus, readFooocus } from './fooocus.ts'
import { jsonObject, looksLikeJson, nested, type ForeignText } from './foreign.ts'
import { isInvokeAi, readInvokeAi, readMetadata } from './invokeai.ts'
import { isNovelAiComment, readNovelAi } from './novelai.ts'
import { isSwarmUi, readSwarmUi } from './swarmui.ts'

/** Texts of a picture by the keywords of PNG; an EXIF comment and a text without keyword count as `parameters`. */
export type PictureTexts = ReadonlyMap<string, string>

/** What is known of the generation of a picture. */
export interface GenerationText {
  /** The program that wrote it; null where nothing could be read. */
  readonly source: string | null
  /** As A1111 writes it; empty where nothing could be read. */
  readonly text: string
  readonly infotext: Infotext | null
  /** What could not be read, or has no counterpart here, each in a sentence. */
  readonly notes: readonly string[]
}

/** Reads what any known program wrote; null where there is nothing of the kind. */
export function readTexts (items: PictureTexts): GenerationText | null {
  const parameters = items.get('parameters')
  if (parameters !== undefined && parameters.trim() !== '' && !looksLikeJson(parameters)) {
    return { source: 'A1111', text: parameters, infotext: parseInfotext(parameters), notes: [] }
  }
  const whole = jsonObject(parameters)
  const found = (whole === null ? null : readObject(whole)) ??
    readNovelAi(items) ?? readInvokeAi(items) ?? readGraph(items) ?? readObject(jsonObject(items.get('Comment')) ?? {})
  if (found !== null) return { ...found, text: writeInfotext(found.infotext) }
  const problem = problemOf(items, whole)
  return problem === null ? null : { source: null, text: '', infotext: null, notes: [problem] }
}

/** The same for one text that came without a picture. @returns null for text that is no JSON: A1111 writes such */
export function readForeignText (text: string): GenerationText | null {
  return looksLikeJson(text) ? readTexts(new Map([['parameters', text]])) : null
}

/** By the fields that only one program writes. */
function readObject (content: JsonObject): ForeignText | null {
  if (isSwarmUi(content)) return readSwarmUi(content)
  if (isInvokeAi(content)) return readMetadata(content)
  if (isFooocus(content)) return readFooocus(content)
  if (isNovelAiComment(content)) return readNovelAi(new Map([['Comment', JSON.stringify(content, bigAsText)]]))
  if (isComfyGraph(content)) return readComfyUi(content)
  const inner = nested(content.prompt)
  if (isComfyGraph(inner)) return readComfyUi(inner)
  return typeof content.Comment === 'string' ? readNovelAi(textsIn(content)) : null
}

/** Stealth texts hold all items of a PNG as one object. */
function textsIn (content: JsonObject): PictureTexts {
  return new Map(Object.entries(content).filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}

function bigAsText (_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}

function readGraph (items: PictureTexts): ForeignText | null {
  const graph = jsonObject(items.get('prompt'))
  return graph !== null && isComfyGraph(graph) ? readComfyUi(graph) : null
}

function problemOf (items: PictureTexts, whole: JsonObject | null): string | null {
  const graph = jsonObject(items.get('prompt')) ?? whole ?? {}
  if (isComfyGraph(graph)) return 'Nothing can be read from this ComfyUI graph: no step in it samples.'
  const workflow = jsonObject(items.get('workflow')) ?? whole ?? {}
  if (isComfyWorkflow(workflow)) {
    return 'Nothing can be read from this ComfyUI workflow, since the graph that ran is not beside it.'
  }
  const named = [...items].find(([, text]) => looksLikeJson(text))?.[0]
  return named === undefined
    ? null
    : `Nothing can be read from the text ${named}: it is JSON of no program that is known here.`
}
