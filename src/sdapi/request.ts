import { stringifyJson } from '../lib/exact-json.ts'
import { fieldsOf, objectOf, textOf } from '../a1111/json-values.ts'
import type { DrawingMode } from '../a1111/types.ts'
import { HttpException } from '../simulator/failures.ts'
import { generationModel } from '../simulator/generation/request.ts'
import { pydantic1 } from '../simulator/wire/pydantic1.ts'
import { readModel } from '../simulator/wire/read-model.ts'
import type { OwnOptions } from './own-options.ts'

/** A generation request as A1111 reads it. */
export interface GenerationCall {
  readonly mode: DrawingMode
  /** What to submit. */
  readonly given: Readonly<Record<string, unknown>>
  /** What `parameters` of the answer echoes: the request with its defaults, without its pictures. JSON text. */
  readonly echo: string
  readonly sendImages: boolean
  /** What the caller calls it; the server gets the job's id instead. */
  readonly taskId: string | null
}

/** Longer texts are pictures, which the answer does not repeat; the same bound as for a server's own echo. */
const longestEcho = 65_536

/**
 * Reads a body by A1111's model: unknown fields are dropped, numbers may be text, defaults are those of its API (50
 * steps, Euler), which are not those of its interface.
 * @param options what the caller has set by POST /options; the request goes first
 * @throws ValidationFailure, HttpException or PythonError, in A1111's words
 */
export function readGenerationCall (mode: DrawingMode, body: unknown, options: OwnOptions): GenerationCall {
  const all = readModel(pydantic1, generationModel(mode, 'forge'), withoutEmptyStyles(body))
  const sent = fieldsOf(body)
  refuseNoStart(mode, all)
  const own = generationModel(mode, 'a1111')
  const isOwn = ([name]: [string, unknown]) => Object.hasOwn(own, name)
  const isSent = ([name]: [string, unknown]) => Object.hasOwn(sent, name)
  // An infotext fills what the request leaves open, so defaults must not stand in its way.
  const hasInfotext = typeof all.infotext === 'string' && all.infotext.trim() !== ''
  const given = Object.entries(all).filter(field => isSent(field) || (isOwn(field) && !hasInfotext))
  const echo = Object.entries(all).filter(field => isOwn(field) || isSent(field))
  return {
    mode,
    given: {
      ...Object.fromEntries(given), override_settings: { ...options, ...objectOf(all.override_settings) }, mode
    },
    echo: echoText(Object.fromEntries(echo)),
    sendImages: all.send_images === true,
    taskId: textOf(all.force_task_id)
  }
}

/** Clients that build their list of styles from a menu have null where nothing was chosen. */
function withoutEmptyStyles (body: unknown): unknown {
  const { styles } = objectOf(body) ?? {}
  return Array.isArray(styles) && styles.includes(null)
    ? { ...objectOf(body), styles: styles.filter(style => style !== null) }
    : body
}

/** What A1111 refuses before it looks at anything else; all other values are for the server to judge. */
function refuseNoStart (mode: DrawingMode, { init_images: start }: Readonly<Record<string, unknown>>): void {
  if (mode === 'img2img' && start === null) throw new HttpException(404, 'Init image not found')
}

function echoText (fields: Readonly<Record<string, unknown>>): string {
  const withPictures = fields.init_images === undefined || fields.include_init_images === true
  const shown = withPictures ? fields : { ...fields, init_images: null, mask: null }
  return stringifyJson(shown, (_name, value: unknown) =>
    typeof value === 'string' && value.length > longestEcho && fields.include_init_images !== true ? null : value)
}
