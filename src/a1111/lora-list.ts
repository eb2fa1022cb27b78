import { createBreaks } from '../lib/breaks.ts'
import { answerTooLarge } from './failures.ts'
import { createJsonStreamFilter, parseJson, type Disposition, type JsonPath } from './json-stream-filter.ts'
import { fieldsOf, objectOf, textOf, type JsonObject } from '../lib/json-values.ts'
import { createTagCounter, createUnescaper, type TagCounter } from './tag-frequency.ts'

/** A LoRA as a server lists it. */
export interface ListedLora {
  readonly name: string
  readonly alias: string
  /** Absolute path at the server, or empty. */
  readonly path: string
  /**
   * What its training wrote into it, under the names of the file: short texts and numbers, and the most frequent tags
   * as `ss_tag_frequency`. Empty where the server tells nothing; null where it was passed over.
   */
  readonly metadata: JsonObject | null
}

/** Members of the metadata that are read. */
const known = /^(?:modelspec\..{1,40}|ss_base_model_version|ss_sd_model_name|ss_v2|ss_output_name|ss_resolution|ss_network_(?:dim|alpha|module)|sshs_model_hash)$/
/** Images within the metadata. */
const images = /^modelspec\.(?:thumbnail|icon)/
const tagMember = 'ss_tag_frequency'
/** Tags that are kept of each LoRA. */
const maxTags = 40
/** Bytes that are kept of a long text. */
const longestText = 16 * 1024
/** Letters of it that remain. */
const longestKept = 4096
/** Bytes that are kept of one LoRA while it is read; far more than its known members have. */
const longestEntry = 8 * 1024 * 1024

/**
 * Reads `GET /sdapi/v1/loras` while it arrives: metadata can take hundreds of kilobytes for each LoRA. Keeps the needed
 * few kilobytes of each.
 *
 * @param metadataBytes metadata that begins behind so many bytes of the answer is passed over, which costs little
 * @throws GenerationFailure as for any answer: `not_json`, `truncated_answer`, `answer_too_large`
 */
export async function readLoraList (
  chunks: AsyncIterable<Buffer>, maxAnswerBytes: number, metadataBytes = Infinity
): Promise<ListedLora[]> {
  const loras: ListedLora[] = []
  let bytes = 0
  let isPassedOver = false
  let tags: TagCounter | null = null
  let reader: StreamReader = { write: () => {}, end: () => nothing }
  let isText = false
  /** The member that is streamed next. */
  let member = ''

  const streamFilter = createJsonStreamFilter({
    maxKeptBytes: longestEntry,
    dispositionOf (path, kind) {
      if (path.length === 2 && path[1] === 'metadata') isPassedOver = bytes > metadataBytes
      const disposition = isPassedOver && path[1] === 'metadata' ? 'drop' : dispositionOf(path, kind)
      if (disposition === 'stream') {
        member = tagMember
        isText = kind === 'string'
      }
      return disposition
    },
    longDisposition (path) {
      member = String(path.at(-1))
      return path.length === 3 ? 'stream' : 'drop'
    }
  })

  function open (): void {
    if (member !== tagMember) {
      reader = cutText()
      return
    }
    const counter = createTagCounter()
    tags = counter
    const unescape = isText ? createUnescaper() : (text: Buffer) => text
    reader = { write: text => { counter.write(unescape(text)) }, end: () => nothing }
  }

  const otherWork = createBreaks()
  for await (const chunk of chunks) {
    bytes += chunk.length
    if (bytes > maxAnswerBytes) throw answerTooLarge(maxAnswerBytes)
    for (const event of streamFilter.scan(chunk)) {
      if (event.kind === 'open') open()
      else if (event.kind === 'text') reader.write(event.text)
      else if (event.kind === 'close') streamFilter.put(reader.end())
      else {
        const lora = loraOf(parseJson(event.text.toString('utf8')), tags)
        tags = null
        if (lora !== null) loras.push(isPassedOver ? { ...lora, metadata: null } : lora)
        isPassedOver = false
      }
      const pause = otherWork()
      if (pause !== undefined) await pause
    }
  }
  streamFilter.finish()
  return loras
}

/** Takes a streamed text, and returns its replacement. */
interface StreamReader {
  write (text: Buffer): void
  end (): Buffer
}

const nothing = Buffer.alloc(0)

function dispositionOf (path: JsonPath, kind: 'string' | 'container'): Disposition {
  const [index, field, member] = path
  if (index === undefined) return 'keep'
  if (typeof index !== 'number') return 'drop'
  if (field === undefined) return kind === 'container' ? 'take' : 'drop'
  if (member === undefined) {
    if (field === 'metadata') return kind === 'container' ? 'keep' : 'trim'
    return kind === 'string' && ['name', 'alias', 'path'].includes(String(field)) ? 'trim' : 'drop'
  }
  if (path.length > 3) return 'drop'
  if (member === tagMember) return 'stream'
  return kind === 'string' && known.test(String(member)) && !images.test(String(member)) ? 'trim' : 'drop'
}

/** The beginning of a long text. */
function cutText (): StreamReader {
  const parts: Buffer[] = []
  let length = 0
  return {
    write (text) {
      if (length < longestText) parts.push(Buffer.from(text.subarray(0, longestText - length)))
      length += text.length
    },
    end: () => {
      const text = Buffer.concat(parts)
      // an escape has twelve bytes at the most, a letter four: without as many it ends between two of them
      for (let end = text.length; end > text.length - 12 && end > 0; end--) {
        if (isWhole(text.subarray(0, end))) return text.subarray(0, end)
      }
      return nothing
    }
  }
}

function isWhole (text: Buffer): boolean {
  try {
    return !String(JSON.parse(`"${text.toString('utf8')}"`)).endsWith('\ufffd')
  } catch {
    return false
  }
}

function loraOf (entry: unknown, tags: TagCounter | null): ListedLora | null {
  const fields = fieldsOf(entry)
  const name = textOf(fields.name)
  if (name === null) return null
  const { [tagMember]: tagCounts, ...metadata } = metadataOf(fields.metadata)
  const top = tags?.top(maxTags) ?? countTags(tagCounts)
  return {
    name,
    alias: textOf(fields.alias) ?? name,
    path: textOf(fields.path) ?? '',
    metadata: {
      ...Object.fromEntries(Object.entries(metadata).flatMap(([member, value]) =>
        value !== null && known.test(member) ? [[member, shortOf(value)]] : [])),
      ...top.length === 0 ? {} : { [tagMember]: { '': Object.fromEntries(top) } }
    }
  }
}

/** The beginning of a long text, as a copy: a slice would keep the whole text in memory. */
function shortOf (value: unknown): unknown {
  return typeof value === 'string' && value.length > longestKept
    ? Buffer.from(value.slice(0, longestKept)).toString()
    : value
}

/** Some servers send it as JSON text. */
function metadataOf (value: unknown): JsonObject {
  if (typeof value !== 'string') return fieldsOf(value)
  try {
    return objectOf(JSON.parse(value)) ?? {}
  } catch {
    return {}
  }
}

function countTags (tagCounts: unknown): ReturnType<TagCounter['top']> {
  if (typeof tagCounts !== 'object' && typeof tagCounts !== 'string') return []
  const counter = createTagCounter()
  counter.write(Buffer.from(typeof tagCounts === 'string' ? tagCounts : JSON.stringify(tagCounts)))
  return counter.top(maxTags)
}
