import { HttpException } from '../failures.ts'
import type { ErrorAnswer } from './errors-a1111.ts'

/** Errors as sd.cpp's server words them. */
export function renderSdcppError (error: unknown): ErrorAnswer {
  const message = error instanceof Error ? error.message : String(error)
  if (error instanceof HttpException) {
    return { status: error.status, body: { error: message }, headers: {}, isTimed: false }
  }
  return { status: 500, body: { error: 'server_error', message }, headers: {}, isTimed: false }
}
