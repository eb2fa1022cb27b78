import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

/** A server that answers like Civitai's public REST API, with a test's data. */
export interface FakeCivitai {
  /** The base address of its API. */
  readonly url: string
  /** Every request so far: path with query, and the Authorization header. */
  readonly requests: Array<{ path: string, authorization: string | undefined }>
  /** Answers by path with query, without `/api/v1`. */
  readonly answers: Map<string, unknown>
  /** Status codes for the next requests, whatever their path; 429 gets a Retry-After of 0. */
  readonly troubles: number[]
  readonly files: Map<string, Buffer>
}

export async function startFakeCivitai (t: Pick<Test, 'teardown'>): Promise<FakeCivitai> {
  const requests: FakeCivitai['requests'] = []
  const answers = new Map<string, unknown>()
  const troubles: number[] = []
  const files = new Map<string, Buffer>()

  function sendJson (response: ServerResponse, status: number, body: unknown): void {
    response.writeHead(status, { 'content-type': 'application/json', ...(status === 429 ? { 'retry-after': '0' } : {}) })
    response.end(JSON.stringify(body))
  }

  const server = createServer((request, response) => {
    const path = (request.url ?? '').replace(/^\/api\/v1/, '')
    requests.push({ path, authorization: request.headers.authorization })
    const trouble = troubles.shift()
    const file = files.get(path)
    if (trouble !== undefined) return sendJson(response, trouble, { error: 'trouble' })
    if (file !== undefined) return response.end(file)
    if (answers.has(path)) return sendJson(response, 200, answers.get(path))
    sendJson(response, 404, { error: 'Not found' })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/v1`, requests, answers, troubles, files }
}
