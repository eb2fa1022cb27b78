import { HttpException, ValidationFailure } from '../failures.ts'
import { asPythonError, type ErrorAnswer } from './errors-a1111.ts'

/** Errors as SD.Next words them: A1111's keys with the status among them, and a TypeError as a text alone. */
export function renderSdnextError (error: unknown): ErrorAnswer {
  if (error instanceof ValidationFailure) {
    return { status: 422, body: { detail: error.details }, headers: {}, isTimed: true }
  }
  if (error instanceof HttpException) {
    const { status, message } = error
    const body = { error: 'HTTPException', code: status, detail: message, body: '', errors: `${status}: ${message}` }
    return { status, body, headers: {}, isTimed: true }
  }
  const { className, message } = asPythonError(error)
  if (className === 'TypeError') return { status: 500, body: message, headers: {}, isTimed: false }
  return { status: 500, body: { error: className, code: 500, detail: '', body: '', errors: message }, headers: {}, isTimed: false }
}
