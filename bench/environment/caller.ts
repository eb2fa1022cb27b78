import { Pool } from 'undici'

/** Sends requests to one address over connections that stay open. */
export interface Caller {
  /** The answer, parsed. @throws Error unless the status is 2xx */
  get (path: string): Promise<unknown>
  post (path: string, body?: unknown): Promise<unknown>
  put (path: string, body: unknown): Promise<unknown>
  patch (path: string, body: unknown): Promise<unknown>
  delete (path: string): Promise<unknown>
  close (): Promise<void>
}

/** @param credentials headers of every request */
export function createCaller (url: string, credentials: Readonly<Record<string, string>> = {}): Caller {
  const pool = new Pool(url, { connections: 64 })

  async function call (method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<unknown> {
    const answer = await pool.request({
      method,
      path,
      ...(body === undefined
        ? { headers: credentials }
        : {
            headers: { ...credentials, 'content-type': 'application/json' },
            body: typeof body === 'string' ? body : JSON.stringify(body)
          })
    })
    const text = await answer.body.text()
    if (answer.statusCode >= 300) throw new Error(`${method} ${path}: ${answer.statusCode} ${text.slice(0, 300)}`)
    return JSON.parse(text)
  }

  return {
    get: path => call('GET', path),
    post: (path, body) => call('POST', path, body),
    put: (path, body) => call('PUT', path, body),
    patch: (path, body) => call('PATCH', path, body),
    delete: path => call('DELETE', path),
    close: () => pool.destroy()
  }
}

/** Does the work so many times, with so many at once. */
export async function repeat (times: number, atOnce: number, work: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (next < times) await work(next++)
  }))
}
