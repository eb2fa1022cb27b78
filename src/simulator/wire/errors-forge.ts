import { HttpException, ValidationFailure } from '../failures.ts'
import { asPythonError, type ErrorAnswer } from './errors-a1111.ts'

/** Errors as Forge words them: FastAPI's own for HTTPException, a `message` instead of `errors` for the rest. */
export function renderForgeError (error: unknown): ErrorAnswer {
  if (error instanceof ValidationFailure) {
    return { status: 422, body: { detail: error.details }, headers: {}, isTimed: false }
  }
  if (error instanceof HttpException) {
    const headers: Record<string, string> = error.status === 401 ? { 'www-authenticate': 'Basic' } : {}
    return { status: error.status, body: { detail: error.message }, headers, isTimed: false }
  }
  const { className, message } = asPythonError(error)
  return { status: 500, body: { error: className, detail: '', body: '', message }, headers: {}, isTimed: false }
}
