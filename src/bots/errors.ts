import type { Warning } from '../../schemas/generation-parameters.ts'
import type { JobStatus } from '../../schemas/job.ts'
import { type ValidationDetail, ValidationFailure } from '../fastapi/errors.ts'
import { ServiceError } from '../lib/errors.ts'
import { validationDetail } from './read-fields.ts'

/** The form of errors for clients of this interface. */
export interface BotErrorBody {
  readonly detail: string | readonly ValidationDetail[]
}

/** Fields of a submission that have another name in requests of this interface; the first match decides. */
const names: ReadonlyArray<readonly [RegExp, string]> = [
  [/^checkpoint_name$/, 'checkpoint'],
  [/^n_iter$/, 'batch_count'],
  [/^override_settings\.(sd_vae|forge_additional_modules.*)$/, 'vae'],
  [/^init_images(\.0)?$/, 'image'],
  [/^alwayson_scripts\.controlnet\.args\.(\d+)\.module$/i, 'controlnet_units.$1.preprocessor'],
  [/^alwayson_scripts\.controlnet\.args\.(\d+)\.mask_image$/i, 'controlnet_units.$1.mask'],
  [/^alwayson_scripts\.controlnet(\.args)?(?=\.|$)/i, 'controlnet_units'],
  [/^alwayson_scripts\.regional prompter\.args\.11$/i, 'regional_config.calc_mode'],
  [/^alwayson_scripts\.regional prompter(\.args.*)?$/i, 'regional_config'],
  [/^upscaler_1$/, 'upscaler'],
  [/^target_server_alias$/, 'server']
]

/** The client's name of a field, in dotted form. */
export function botField (field: string): string {
  const renamed = names.find(([pattern]) => pattern.test(field))
  return renamed === undefined ? field : field.replace(renamed[0], renamed[1])
}

/** Warnings with the client's names of their fields. */
export function botWarnings (warnings: readonly Warning[]): Warning[] {
  return warnings.map(({ field, ...others }) =>
    field === undefined ? others : { ...others, field: botField(field) })
}

/**
 * Status and body of any error. Errors of fields have FastAPI's form: 422 and a list of places; all others are a
 * sentence.
 */
export function toBotError (error: ServiceError | ValidationFailure): { status: number, body: BotErrorBody } {
  if (error instanceof ValidationFailure) return { status: 422, body: { detail: error.details } }
  const { status, message, details: { field } } = error
  if (field === undefined || (status !== 400 && status !== 422)) return { status, body: { detail: message } }
  return { status: 422, body: { detail: failureOfField(error, field).details } }
}

/** What is named in the body and does not exist is a fault of its field, while the route itself exists. */
export function inPlaceOfField (error: unknown): unknown {
  if (!(error instanceof ServiceError) || error.status !== 404 || error.details.field === undefined) return error
  return failureOfField(error, error.details.field)
}

function failureOfField ({ code, message, details: { nearest } }: ServiceError, field: string): ValidationFailure {
  const location = ['body', ...botField(field).split('.').map(part => /^\d+$/.test(part) ? Number(part) : part)]
  const ctx = nearest === undefined ? {} : { ctx: { nearest } }
  return new ValidationFailure([validationDetail(location, null, { type: code, msg: message, ...ctx })])
}

/** The four words that clients of this interface know. */
export const botStates = {
  pending: 'queued', processing: 'processing', completed: 'completed', failed: 'failed', cancelled: 'failed'
} as const satisfies Record<JobStatus, string>

/** A time as these clients parse it: UTC with microseconds and without an offset, which older Pythons cannot read. */
export function botTime (timestamp: number): string {
  return `${new Date(timestamp).toISOString().slice(0, -1)}000`
}
