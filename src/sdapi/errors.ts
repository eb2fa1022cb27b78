import { ServiceError } from '../errors.ts'
import { isImagePlace } from '../a1111/images.ts'
import { GenerationFailure } from '../a1111/types.ts'
import type { Job } from '../jobs/job.ts'
import { HttpException, PythonError, ValidationFailure } from '../simulator/failures.ts'
import { renderA1111Error } from '../simulator/wire/errors-a1111.ts'

/** An error as A1111 1.10.1 answers it. */
export interface A1111Error {
  readonly status: number
  readonly body: unknown
}

/**
 * Says in A1111's words what went wrong. A1111 knows four shapes: a list of wrong fields, its own refusals, the
 * exceptions of its code, and a bare `detail` where there is no such route.
 */
export function toA1111Error (error: unknown): A1111Error {
  if (error instanceof ServerAnswer) return error.answer
  if (error instanceof GenerationFailure) return error.answer ?? renderA1111Error(translatedFailure(error))
  const { status, body } = renderA1111Error(error instanceof ServiceError ? translated(error) : error)
  return error instanceof ServiceError && isBare(error) ? { status, body: { detail: error.message } } : { status, body }
}

/** Whether it is about a route, which A1111's middleware does not see. */
function isBare ({ code }: ServiceError): boolean {
  return code === 'route_not_found' || code === 'method_not_allowed'
}

/** What a server said, as far as it is known here. */
function translatedFailure ({ failureClass, code, message }: GenerationFailure): Error {
  if (code === 'server_starting') return new HttpException(503, message)
  if (failureClass === 'server-down' || failureClass === 'unauthorized') return new HttpException(502, message)
  return failureClass === 'timeout' ? new HttpException(504, message) : new PythonError('RuntimeError', message)
}

function translated (error: ServiceError): Error {
  const { code, status, message, details } = error
  if (code === 'authentication_required') return new HttpException(401, 'Not authenticated')
  if (code === 'invalid_api_key') return new HttpException(401, 'Incorrect username or password')
  if (code === 'internal_server_error') return new PythonError('Exception', message)
  const { field = '' } = details
  if (code === 'invalid_image' || (code === 'invalid_field_value' && isImagePlace(field))) {
    return new HttpException(500, 'Invalid encoded image')
  }
  if (code === 'invalid_field_value' || code === 'missing_required_field') {
    return new ValidationFailure([{ loc: ['body', ...placeOf(field)], msg: message, type: 'value_error' }])
  }
  return new HttpException(status, message)
}

function placeOf (field: string): Array<string | number> {
  return field.split('.').filter(part => part !== '').map(part => /^\d+$/.test(part) ? Number(part) : part)
}

/** Python's names for what jobs fail of, where A1111's clients may look for them. */
const classes: Readonly<Record<string, string>> = {
  out_of_memory: 'OutOfMemoryError',
  nan: 'NansException',
  timeout: 'TimeoutError'
}

/** The server's own answer to a generation, to be passed on as it is. */
export class ServerAnswer extends Error {
  override readonly name = 'ServerAnswer'
  readonly answer: A1111Error

  constructor (message: string, answer: A1111Error) {
    super(message)
    this.answer = answer
  }
}

/** What the server said of a job that failed, or what A1111 would have said of it. */
export function errorOfJob ({ error }: Pick<Job, 'error'>): Error {
  if (error?.answer !== undefined) return new ServerAnswer(error.message, error.answer)
  return new PythonError(classes[error?.code ?? ''] ?? 'RuntimeError', error?.message ?? 'The job failed.')
}
