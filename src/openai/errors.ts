import type { OpenAiError } from '../../schemas/openai.ts'
import { type ErrorCode, renamed, ServiceError } from '../lib/errors.ts'

/** An error as OpenAI's API answers it. */
export interface OpenAiFailure {
  readonly status: number
  readonly body: OpenAiError
  /** Whether its packages can repeat the request: they do so by themselves, and each repeat generates again. */
  readonly isWorthRetrying: boolean
}

/** OpenAI's codes, where they have one for the same. */
const codes: Partial<Record<ErrorCode, string>> = {
  missing_required_field: 'missing_required_parameter',
  invalid_field_value: 'invalid_value',
  authentication_required: 'invalid_api_key',
  checkpoint_not_found: 'model_not_found',
  model_not_known: 'model_not_found',
  invalid_image: 'invalid_image',
  route_not_found: 'unknown_url',
  method_not_allowed: 'method_not_supported',
  api_key_rate_limit: 'rate_limit_exceeded',
  queue_limit_reached: 'rate_limit_exceeded'
}

/** The statuses of OpenAI, which has no 422. */
function statusOf ({ code, status }: ServiceError): number {
  if (codes[code] === 'model_not_found') return 404
  if (code === 'no_server_available') return 503
  return status === 422 ? 400 : status
}

/** OpenAI's names of the fields that a submission complains about. */
const params: Readonly<Record<string, string>> = {
  checkpoint_name: 'model', id: 'model', init_images: 'image', width: 'size', height: 'size', n_iter: 'n', batch_size: 'n'
}

export function paramOf (field: string): string {
  const [name = ''] = field.split('.')
  return params[name] ?? field
}

/** The error with OpenAI's name of its field. */
function inItsNames (error: ServiceError): ServiceError {
  const { field } = error.details
  return field === undefined || paramOf(field) === field ? error : renamed(error, { field: paramOf(field) })
}

export function toOpenAiFailure (thrown: ServiceError): OpenAiFailure {
  const error = inItsNames(thrown)
  const status = statusOf(error)
  return {
    status,
    isWorthRetrying: status === 408 || status === 429 || (status >= 500 && error.code !== 'no_server_available'),
    body: openAiError(error.message, typeOf(status), {
      param: error.details.field ?? null, code: codeOf(error)
    })
  }
}

function codeOf ({ code, details }: ServiceError): string {
  return code === 'permission_denied' && details.scope !== undefined ? 'missing_scope' : codes[code] ?? code
}

/** OpenAI's kind of an error. */
export function typeOf (status: number): string {
  if (status === 429) return 'requests'
  return status >= 500 ? 'server_error' : 'invalid_request_error'
}

export function openAiError (
  message: string, type: string, { param, code }: { readonly param: string | null, readonly code: string }
): OpenAiError {
  return { error: { message, type, param, code } }
}

/** A complaint of the validator. */
export interface SchemaComplaint {
  readonly keyword: string
  readonly instancePath: string
  readonly params: Readonly<Record<string, unknown>>
  readonly message?: string | undefined
}

/** The answer to a body that does not fit its schema, in OpenAI's words. */
export function toOpenAiComplaint (complaints: readonly SchemaComplaint[]): OpenAiFailure {
  // A misspelt name explains a missing field.
  const unknown = complaints.find(({ keyword }) => keyword === 'additionalProperties')
  const complaint = unknown ?? complaints.find(({ keyword }) => !['anyOf', 'if'].includes(keyword)) ?? complaints[0]
  const { message, param, code } = wordsOf(complaint)
  return { status: 400, isWorthRetrying: false, body: openAiError(message, 'invalid_request_error', { param, code }) }
}

function wordsOf (complaint: SchemaComplaint | undefined): { message: string, param: string | null, code: string } {
  const { keyword = '', instancePath = '', params = {}, message = 'is not valid' } = complaint ?? {}
  const path = instancePath.split('/').slice(1).join('.')
  const inside = (name: unknown) => path === '' ? String(name) : `${path}.${String(name)}`
  const { limit } = params
  if (keyword === 'additionalProperties') {
    const param = inside(params.additionalProperty)
    return { message: `Unknown parameter: '${param}'.`, param, code: 'unknown_parameter' }
  }
  if (keyword === 'required') {
    const param = inside(params.missingProperty)
    return { message: `Missing required parameter: '${param}'.`, param, code: 'missing_required_parameter' }
  }
  if (path === '') return { message: 'The body must be a JSON object.', param: null, code: 'invalid_type' }
  const said = (text: string, code: string) => ({ message: `Invalid '${path}': ${text}.`, param: path, code })
  switch (keyword) {
    case 'type': return said(`expected ${listOf(params.type)}`, 'invalid_type')
    case 'enum': return said(`supported values are ${listOf(params.allowedValues)}`, 'invalid_value')
    case 'maximum': return said(`expected a value <= ${String(limit)}`, 'integer_above_max_value')
    case 'minimum': return said(`expected a value >= ${String(limit)}`, 'integer_below_min_value')
    case 'maxLength': return said(`expected at most ${String(limit)} characters`, 'string_above_max_length')
    case 'minLength': return said('expected a text that is not empty', 'empty_string')
    case 'maxItems': return said(`expected at most ${String(limit)} items`, 'array_above_max_length')
    default: return said(message, 'invalid_value')
  }
}

function listOf (values: unknown): string {
  return [values].flat().filter(value => value !== null && value !== 'null').map(String).join(', ')
}
