/** What a Python exception inside a handler becomes: status 500 with the name of its class. */
export class PythonError extends Error {
  override readonly name = 'PythonError'
  readonly className: string

  constructor (className: string, message: string) {
    super(message)
    this.className = className
  }
}

/** What Python says where a function is called without these arguments. */
export function missingArguments (name: string, missing: readonly string[]): PythonError {
  const quoted = missing.map(one => `'${one}'`)
  const last = quoted.at(-1) ?? ''
  const listed = quoted.length > 2 ? `${quoted.slice(0, -1).join(', ')}, and ${last}` : quoted.join(' and ')
  const plural = quoted.length === 1 ? '' : 's'
  return new PythonError('TypeError', `${name}() missing ${quoted.length} required positional argument${plural}: ${listed}`)
}

/** FastAPI's HTTPException: a status chosen by the handler. */
export class HttpException extends Error {
  override readonly name = 'HttpException'
  readonly status: number

  constructor (status: number, detail: string) {
    super(detail)
    this.status = status
  }
}

/** One entry of the `detail` list of a 422, in the shape of the flavour's pydantic. */
export type ValidationDetail = Readonly<Record<string, unknown>>

/** The request does not fit its model. */
export class ValidationFailure extends Error {
  override readonly name = 'ValidationFailure'
  readonly details: readonly ValidationDetail[]

  constructor (details: readonly ValidationDetail[]) {
    super('the request does not fit its model')
    this.details = details
  }
}

/** The simulated server process died while this was under way: nobody gets an answer. */
export class ProcessDied extends Error {
  override readonly name = 'ProcessDied'

  constructor () {
    super('the simulated server server died')
  }
}
