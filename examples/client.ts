/**
 * A tiny client for bots and apps: copy it and extend it. Needs only `fetch`. `/docs` of the service describes the
 * whole interface.
 */
export interface ClientOptions {
  /** Such as `http://127.0.0.1:3000`. */
  readonly url: string
  /** An access key with its secret; not needed on the machine that the service runs on. */
  readonly key?: string
  readonly secret?: string
  /** Whole seconds between reports of an unfinished job; its end is reported at once. */
  readonly pause?: number
}

export interface Job {
  readonly job_id: string
  readonly status: 'queued' | 'processing' | 'completed' | 'failed'
  /** 0 to 1. */
  readonly progress: number
  /** The current step, or why the job failed. */
  readonly message: string
}

export interface Result {
  /** As base64. */
  readonly images: readonly string[]
  readonly error: string | null
  readonly warnings: ReadonlyArray<{ readonly message: string }>
}

export interface Session {
  /** Weights by file name. */
  readonly active_loras: Readonly<Record<string, number>>
}

export type Kind = 'txt2img' | 'img2img' | 'controlnet' | 'regional'
type Fields = Readonly<Record<string, unknown>>

export type Client = ReturnType<typeof createClient>

export function createClient ({ url, key = '', secret = '', pause = 3 }: ClientOptions) {
  const headers: Record<string, string> = key === '' ? {} : { 'x-api-key': key, 'x-api-secret': secret }

  /** @throws Error with the sentence that the service answered */
  async function call<Answer> (method: string, path: string, body?: Fields): Promise<Answer> {
    const response = await fetch(url + path, {
      method,
      headers: body === undefined ? headers : { ...headers, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) })
    })
    const answer: unknown = await response.json()
    if (!response.ok) throw new Error(sentenceOf(answer))
    return answer as Answer
  }

  const user = (id: string) => `/sessions/${encodeURIComponent(id)}`

  return {
    /** Starts a generation; images in the fields are base64. Returns the id of the job. */
    async generate (kind: Kind, fields: Fields): Promise<string> {
      const { job_id: id } = await call<{ job_id: string }>('POST', `/generate/${kind}`, fields)
      return id
    },

    /**
     * Waits until a job has finished, and reports changes meanwhile: the service answers when the job finishes or the
     * pause is over. To see each change at once, watch `/ws/jobs/ID`.
     */
    async wait (id: string, onChange: (job: Job) => void = () => {}): Promise<Result> {
      let job = await call<Job>('GET', `/jobs/${id}`)
      onChange(job)
      while (job.status !== 'completed' && job.status !== 'failed') {
        const { status, message } = job
        job = await call<Job>('GET', `/jobs/${id}?wait=${pause}`)
        if (job.status !== status || job.message !== message) onChange(job)
      }
      return await call<Result>('GET', `/jobs/${id}/result`)
    },

    cancel: async (id: string) => await call<unknown>('POST', `/jobs/${id}/cancel`),
    session: async (userId: string) => await call<Session>('GET', user(userId)),
    addLora: async (userId: string, filename: string, weight: number) =>
      await call<unknown>('POST', `${user(userId)}/loras`, { filename, weight }),
    clearLoras: async (userId: string) => await call<unknown>('DELETE', `${user(userId)}/loras`),

    /** At most 25 LoRAs that match a text, in the form of Discord's autocompletion. */
    async completeLora (text: string): Promise<ReadonlyArray<{ readonly name: string, readonly value: string }>> {
      const path = `/loras/autocomplete?search=${encodeURIComponent(text)}`
      return (await call<{ choices: Array<{ name: string, value: string }> }>('GET', path)).choices
    }
  }
}

/** The service answers a sentence, or a list of errors with their locations. */
function sentenceOf (answer: unknown): string {
  const detail = typeof answer === 'object' && answer !== null && 'detail' in answer ? answer.detail : answer
  if (!Array.isArray(detail)) return String(detail)
  const entries = detail as Array<{ loc: unknown[], msg: string }>
  return entries.map(({ loc, msg }) => `${loc.slice(1).join('.')}: ${msg}`).join('; ')
}
