import { parsePythonJson } from '../lib/exact-json.ts'
import { fieldsOf, objectOf, textOf, type JsonObject } from './json-values.ts'
import { GenerationFailure, type FailureClass } from './types.ts'

/** What an A1111-like server says about its error. */
export interface ServerError {
  /** Python's class of the exception; null where the server said none. */
  readonly className: string | null
  /** Its message in a line or two, without a closing full stop. */
  readonly message: string
}

const longestMessage = 500
const longestList = 5

/**
 * Reads an error body in any of the known shapes: A1111's `{error, detail, body, errors}`, Forge's
 * `{error, detail, body, message}`, FastAPI's `{detail}` with a sentence or pydantic's list, sd.cpp's
 * `{error, message}`, and SD.Next's bare text.
 *
 * @returns null where the text is none of these
 */
export function readServerError (text: string): ServerError | null {
  let body: unknown
  try {
    body = parsePythonJson(text)
  } catch {
    return null
  }
  // SD.Next says some errors as a text alone.
  if (typeof body === 'string' && body.trim() !== '') return { className: null, message: tidy(body) }
  const fields = objectOf(body)
  return fields === null ? null : serverErrorOf(fields)
}

/** The error that an already parsed object tells of, in the same shapes. */
export function serverErrorOf (body: JsonObject): ServerError | null {
  const { error, detail, errors, message } = body
  const isClass = typeof error === 'string' && /^[A-Za-z_][\w.]*$/.test(error)
  const className = isClass && error !== 'HTTPException' ? error : null
  if (Array.isArray(detail)) return { className, message: sentenceOfList(detail) }
  const texts = [detail, errors, message, error]
  const found = texts.find((value): value is string => typeof value === 'string' && value.trim() !== '')
  return found === undefined ? null : { className, message: tidy(found) }
}

/** Rules for status 500, in this order; the first that fits decides. Sources: A1111 1.10.1, Forge, torch. */
const rules: ReadonlyArray<{
  readonly names?: RegExp
  readonly words?: RegExp
  readonly failureClass: FailureClass
  readonly code: string
  readonly sentence: (said: string) => string
}> = [
  {
    // after these every kernel launch of the process fails until it is restarted
    words: /illegal memory access|device-side assert|unspecified launch failure|misaligned address|illegal instruction|uncorrectable ECC|GPU is lost/i,
    failureClass: 'server-down',
    code: 'cuda_poisoned',
    sentence: said => `The server's GPU process is broken and needs a restart: ${said}.`
  },
  {
    names: /^(torch\.)?(cuda\.)?OutOfMemoryError$|^MemoryError$/,
    words: /out of memory|can't allocate memory|not enough memory|CUBLAS_STATUS_ALLOC_FAILED/i,
    failureClass: 'out-of-memory',
    code: 'out_of_memory',
    sentence: said => `The server ran out of memory: ${said}.`
  },
  {
    names: /^NansException$/,
    failureClass: 'request',
    code: 'nan',
    sentence: said => `The checkpoint produced invalid numbers (NaN): ${said}.`
  },
  {
    names: /^(ZeroDivisionError|IndexError|AssertionError|TypeError|KeyError|ValueError|AttributeError|NameError|UnboundLocalError|UnidentifiedImageError|DecompressionBombError)$/,
    // RuntimeError and Exception stand for everything; these messages of theirs follow from the request alone
    words: /invalid encoded image|could not find (upscaler|checkpoint)|bad number of images|negative dimension|must be non-negative|no elements|unpacking long|expected \dd|shapes? .*(invalid|cannot be multiplied|must match)|cannot reshape|sizes? of tensors?|given groups=\d|expected input.*channels|kernel size can't be greater|did not find .+ in prompt/i,
    failureClass: 'request',
    code: 'request_failed',
    sentence: said => `The server cannot generate this request: ${said}.`
  }
]

/** The failure behind a status 500: "retry" would be wrong for most of them, so each known one is named. */
export function classifyServerError (said: ServerError | null, status: number): GenerationFailure {
  if (said === null) {
    return new GenerationFailure('passing', 'server_error', `The server failed without saying why (status ${status}).`)
  }
  const words = said.className === null ? said.message : `${said.className}: ${said.message}`
  const rule = rules.find(({ names, words: pattern }) =>
    (said.className !== null && names?.test(said.className) === true) || pattern?.test(said.message) === true)
  if (rule !== undefined) return new GenerationFailure(rule.failureClass, rule.code, rule.sentence(words))
  if (said.className === null) {
    // an HTTPException: A1111's own words about the request
    return new GenerationFailure('request', 'request_failed', `The server cannot generate this request: ${words}.`)
  }
  return new GenerationFailure('passing', 'server_error', `The server failed: ${words}.`)
}

/** Pydantic's list of complaints as one line: `steps: value is not a valid integer; width: …`. */
function sentenceOfList (list: readonly unknown[]): string {
  const complaints = list.slice(0, longestList).map(entry => {
    const { loc, msg, type } = fieldsOf(entry)
    const location = Array.isArray(loc) ? loc.filter((part, index) => index > 0 || part !== 'body') : []
    const isJson = type === 'value_error.jsondecode' || type === 'json_invalid'
    const field = isJson || location.length === 0 ? 'body' : location.join('.')
    return `${field}: ${textOf(msg) ?? 'invalid value'}`
  })
  const more = list.length > longestList ? `; and ${list.length - longestList} more` : ''
  return tidy(complaints.join('; ') + more)
}

/** Without stack traces, control characters, a closing full stop, and more than a few lines' worth of text. */
function tidy (text: string): string {
  const [before = ''] = text.split(/Traceback \(most recent call last\)|\n[^\S\n]+at |\n[^\S\n]*File "/, 1)
  const line = before.replace(/[\s\p{Cc}]+/gu, ' ').trim().replace(/\.$/, '')
  if (line === '') return 'no further words'
  return line.length > longestMessage ? `${line.slice(0, longestMessage)}…` : line
}
