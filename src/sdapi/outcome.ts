import { isImageLocation } from '../a1111/images.ts'
import { GenerationFailure } from '../a1111/types.ts'
import { HttpException, PythonError, renderA1111Error, ValidationFailure } from '../fastapi/errors.ts'
import type { Job } from '../jobs/job.ts'
import { type JobOutcome, type JobOutcomes, stopsBeforeEnd } from '../jobs/outcome.ts'
import { withDeadline } from '../lib/deadline.ts'
import { ServiceError } from '../lib/errors.ts'
import type { ClientJobs } from './clients.ts'

/** An error as A1111 1.10.1 answers it. */
export interface A1111Error {
  readonly status: number
  readonly body: unknown
}

/**
 * Renders an error in A1111's words. A1111 knows four shapes: a list of wrong fields, its own refusals, the exceptions
 * of its code, and a bare `detail` for a missing route.
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

/** The server's error, as far as it is known here. */
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
  if (code === 'invalid_image' || (code === 'invalid_field_value' && isImageLocation(field))) {
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

/** Python's names for failures of jobs, where A1111's clients can look for them. */
const classes: Readonly<Record<string, string>> = {
  out_of_memory: 'OutOfMemoryError',
  nan: 'NansException',
  timeout: 'TimeoutError'
}

/** The server's own answer to a generation, passed on unchanged. */
export class ServerAnswer extends Error {
  override readonly name = 'ServerAnswer'
  readonly answer: A1111Error

  constructor (message: string, answer: A1111Error) {
    super(message)
    this.answer = answer
  }
}

/** The server's error of a failed job, or the one that A1111 would have given. */
function errorOfJob ({ error }: Pick<Job, 'error'>): Error {
  if (error?.answer !== undefined) return new ServerAnswer(error.message, error.answer)
  return new PythonError(classes[error?.code ?? ''] ?? 'RuntimeError', error?.message ?? 'The job failed.')
}

/** The end of waiting clients' jobs. */
export interface Outcomes {
  /**
   * The job once it has finished in a way that A1111 answers with images. Interrupted calls are among them: A1111
   * answers with the images made so far. Null if the client disconnects before.
   * @throws the error that A1111 answers in place of images; `shutting_down` when this process stops before
   */
  of (jobId: string, gone: AbortSignal): Promise<Job | null>
  /** The same, but null if the job has not finished after so many seconds, or when this process stops. */
  within (jobId: string, seconds: number, gone: AbortSignal): Promise<Job | null>
}

export interface OutcomesDependencies {
  readonly jobOutcome: JobOutcomes
  readonly clientJobs: Pick<ClientJobs, 'wasInterrupted'>
}

export function createOutcomes ({ jobOutcome, clientJobs }: OutcomesDependencies): Outcomes {
  /** The job with the images to answer with, or what else A1111 says. */
  async function render (outcome: Exclude<JobOutcome, { kind: 'left' | 'stopping' }>): Promise<Job> {
    switch (outcome.kind) {
      case 'failed': throw errorOfJob(outcome.job)
      // A status 404 would say that there is no such route.
      case 'deleted': throw new PythonError('InterruptedError', 'The job was deleted before it finished.')
      case 'lost': throw new PythonError('FileNotFoundError', 'An image of this job is missing in the storage.')
      case 'cancelled': {
        const { job } = outcome
        const isEmpty = (job.result?.images ?? []).length === 0
        // To the client that did not interrupt its call, an answer without images is a failure.
        if (!isEmpty || await clientJobs.wasInterrupted(job.id)) return job
        throw new PythonError('InterruptedError', 'The job was cancelled before it made an image.')
      }
      case 'completed': return outcome.job
    }
  }

  return {
    async of (jobId, gone) {
      const outcome = await jobOutcome(jobId, gone)
      if (outcome.kind === 'stopping') throw stopsBeforeEnd()
      return outcome.kind === 'left' ? null : await render(outcome)
    },
    async within (jobId, seconds, gone) {
      if (seconds === 0) return null
      const outcome = await withDeadline(seconds * 1000, [gone], async over => await jobOutcome(jobId, over))
      return outcome.kind === 'left' || outcome.kind === 'stopping' ? null : await render(outcome)
    }
  }
}
