import type { StudioBatchRequest } from '../../schemas/studio-batch.ts'
import { ServiceError } from '../errors.ts'
import { ValidationFailure } from '../simulator/failures.ts'
import { toStudioError } from './errors.ts'

/**
 * What is wrong with one generation of a batch, told of the place where it stands there: an axis, a variation or the
 * base request. Anything else stays as it is.
 * @param variation index of the generation's own
 */
export function inBatch (
  error: unknown, request: Pick<StudioBatchRequest, 'axes' | 'variations' | 'base_request'>, variation: number
): unknown {
  if (!(error instanceof ValidationFailure) && !(error instanceof ServiceError)) return error
  const { status, body } = toStudioError(error)
  if (status !== 422 || typeof body.detail === 'string') return error
  return new ValidationFailure(body.detail.map(detail => ({ ...detail, loc: placeOf(detail.loc) })))

  function placeOf (loc: unknown): unknown {
    const [root = 'body', first = '', ...rest] = Array.isArray(loc) ? loc as unknown[] : []
    const name = String(first)
    const axis = request.axes.findIndex(({ field }) => field.split('.')[0] === name)
    if (axis !== -1) return [root, 'axes', axis, 'values']
    if (Object.hasOwn(request.variations[variation] ?? {}, name)) return [root, 'variations', variation, name, ...rest]
    return name === 'user_id' ? loc : [root, 'base_request', name, ...rest]
  }
}
