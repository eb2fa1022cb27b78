/**
 * The one taxonomy of errors for clients. Each interface renders these values in its own shape; nothing else decides a
 * status. Codes are part of the wire contract: add, never rename.
 */
export const errorStatuses = {
  // the client's input
  missing_required_field: 400,
  invalid_field_value: 400,
  malformed_request: 400,
  ambiguous_credentials: 400,
  job_operation_invalid: 400,
  api_key_exists: 400,
  server_exists: 400,
  // the client's identity
  authentication_required: 401,
  invalid_api_key: 401,
  civitai_key_missing: 401,
  permission_denied: 403,
  cross_site_request: 403,
  unknown_host: 421,
  // missing things
  route_not_found: 404,
  setting_not_found: 404,
  job_not_found: 404,
  bulk_not_found: 404,
  server_not_found: 404,
  api_key_not_found: 404,
  image_not_found: 404,
  zip_not_found: 404,
  delivery_not_found: 404,
  endpoint_not_found: 404,
  check_not_found: 404,
  model_not_known: 404,
  civitai_not_found: 404,
  download_not_found: 404,
  preset_not_found: 404,
  lora_not_in_session: 404,
  job_result_not_available: 404,
  method_not_allowed: 405,
  request_timeout: 408,
  // conflicts with the present state
  more_than_expected: 409,
  server_has_jobs: 409,
  server_not_served: 409,
  check_running: 409,
  server_from_settings: 409,
  setup_already_done: 409,
  model_ambiguous: 409,
  model_not_on_disk: 409,
  model_not_writable: 409,
  no_model_folders: 409,
  download_operation_invalid: 409,
  // exceeded limits
  payload_too_large: 413,
  uri_too_long: 414,
  headers_too_large: 431,
  unsupported_media_type: 415,
  range_not_satisfiable: 416,
  api_key_rate_limit: 429,
  queue_limit_reached: 429,
  bytes_in_flight_limit: 429,
  listener_limit_reached: 429,
  too_many_failed_logins: 429,
  user_jobs_limit: 429,
  user_cooldown: 429,
  // tasks that no server can do
  checkpoint_not_found: 422,
  sampler_not_found: 422,
  scheduler_not_found: 422,
  model_not_found: 422,
  script_not_found: 422,
  style_not_found: 422,
  invalid_image: 422,
  unsupported_parameter: 422,
  no_server_available: 422,
  idempotency_key_reused: 422,
  server_capability: 422,
  webhook_url_invalid: 422,
  webhook_url_blocked: 422,
  webhook_key_unsendable: 422,
  blocked_word: 422,
  // our own faults
  internal_server_error: 500,
  queue_error: 500,
  a1111_unreachable: 502,
  a1111_error: 502,
  civitai_unreachable: 502,
  database_error: 503,
  database_unavailable: 503,
  storage_full: 503,
  shutting_down: 503,
  server_busy: 503,
  too_many_listeners: 503
} as const

export type ErrorCode = keyof typeof errorStatuses

/** Details of an error besides its sentence; `field` names the offending input in dotted form. */
export interface ErrorDetails {
  field?: string
  nearest?: readonly string[]
  [name: string]: unknown
}

/** What an error says; a function says it of its field by the name under which the reader knows that. */
export type Sentence = string | ((field: string) => string)

/** A failure with a code of the taxonomy, the status that follows from it and a sentence for people. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError'
  readonly code: ErrorCode
  readonly status: number
  readonly details: ErrorDetails
  readonly sentence: Sentence

  constructor (code: ErrorCode, sentence: Sentence, details: ErrorDetails = {}, options?: ErrorOptions) {
    super(saidOf(sentence, details.field ?? ''), options)
    this.code = code
    this.sentence = sentence
    this.status = errorStatuses[code]
    this.details = details
  }
}

function saidOf (sentence: Sentence, field: string): string {
  return typeof sentence === 'string' ? sentence : sentence(field)
}

/**
 * The error for readers who know its field by another name.
 * @param details beside those that it has, `field` among them
 * @param named what the sentence calls the field, if not as `field` does
 */
export function renamed (
  error: ServiceError, details: ErrorDetails & { field: string }, named: string = details.field
): ServiceError {
  const { code, sentence } = error
  return new ServiceError(code, saidOf(sentence, named), { ...error.details, ...details }, { cause: error })
}

/** For `catch`: resolves to undefined instead of an error with one of these codes, and passes on every other one. */
export function ignoring (...codes: readonly ErrorCode[]): (error: unknown) => undefined {
  return error => {
    if (!(error instanceof ServiceError && codes.includes(error.code))) throw error
    return undefined
  }
}

/** The sentence of any thrown value, for logs and job records. */
export function messageOf (error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** An invalid command line; the message says what would be valid. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** @throws ServiceError `more_than_expected` */
export function refuseMore (
  count: number, expected: number | undefined, details: ErrorDetails = {}
): void {
  if (expected === undefined || count <= expected) return
  throw new ServiceError('more_than_expected', `This is about ${count}, which are more than the expected ${expected}. ` +
    'Nothing was done.', { field: 'expected', expected, count, ...details })
}
