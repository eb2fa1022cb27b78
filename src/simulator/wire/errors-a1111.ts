import { HttpException, PythonError, ValidationFailure } from '../failures.ts'

export interface ErrorAnswer {
  readonly status: number
  readonly body: unknown
  readonly headers: Readonly<Record<string, string>>
  /** Whether the exception passed A1111's timing middleware, which then adds no X-Process-Time. */
  readonly isTimed: boolean
}

/** Errors as A1111's own middleware words them: always the same four keys, except for 422. */
export function renderA1111Error (error: unknown): ErrorAnswer {
  if (error instanceof ValidationFailure) {
    return { status: 422, body: { detail: error.details }, headers: {}, isTimed: true }
  }
  if (error instanceof HttpException) {
    const body = { error: 'HTTPException', detail: error.message, body: '', errors: '' }
    return { status: error.status, body, headers: {}, isTimed: true }
  }
  const { className, message } = asPythonError(error)
  return { status: 500, body: { error: className, detail: '', body: '', errors: message }, headers: {}, isTimed: false }
}

/** A mistake of the simulator itself looks like one of A1111's, too. */
export function asPythonError (error: unknown): { className: string, message: string } {
  if (error instanceof PythonError) return error
  return { className: 'Exception', message: error instanceof Error ? error.message : String(error) }
}
