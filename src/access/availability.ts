import { ServiceError } from '../errors.ts'

/**
 * The answer of Redis, where there is no going on without it.
 * @throws ServiceError database_error instead of whatever the connection reports
 */
export async function orUnavailable<Answer> (asking: Promise<Answer>): Promise<Answer> {
  try {
    return await asking
  } catch (error) {
    if (error instanceof ServiceError) throw error
    throw new ServiceError('database_error', 'Redis does not answer; try again in a moment', {}, { cause: error })
  }
}
