import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Test } from 'tap'
import { listen } from '../webhooks/receiver.ts'

export type Handler = (request: IncomingMessage, response: ServerResponse) => void

/** A server for downloads whose answers a test sets by decoded path. */
export async function startSource (t: Pick<Test, 'teardown'>) {
  const handlers = new Map<string, Handler>()
  const requests: Array<{ path: string, range: string | undefined, authorization: string | undefined }> = []
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? '')
    const { range, authorization } = request.headers
    requests.push({ path, range, authorization })
    const handler = handlers.get(path)
    if (handler === undefined) response.writeHead(404).end('{}')
    else handler(request, response)
  })
  return { url: `http://127.0.0.1:${await listen(t, server)}`, handlers, requests }
}
