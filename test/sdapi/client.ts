import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import type { Service } from '../helper.ts'

export type Fields = Record<string, unknown>
export type Generation = { images: string[], parameters: Fields, info: string }

export const base64 = (text: string) => Buffer.from(text).toString('base64')

/** Reads every answer as JSON whatever its status, as these clients do. */
export async function call<Value = Fields> (
  service: Service, method: string, path: string, body?: unknown, headers: Record<string, string> = {}
): Promise<{ status: number, json: Value }> {
  const response = await fetch(service.url + path, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) })
  })
  return { status: response.status, json: await response.json() as Value }
}

export async function newKey (service: Service, more: Fields = {}): Promise<{ key: string, secret: string }> {
  const { key, secret } = (await service.request('POST', '/api/v1/api-keys', { name: 'a client', ...more })).body
  return { key: String(key), secret: String(secret) }
}

/** Sends a request and returns its answer as soon as the headers have arrived. */
export async function open (
  service: Pick<Service, 'url'>, path: string, body: unknown, headers: Record<string, string> = {}
) {
  const request = httpRequest(service.url + path, { method: 'POST', headers: { 'content-type': 'application/json', ...headers } })
  request.on('error', () => { /* cut by the test */ })
  request.end(JSON.stringify(body))
  const [answer] = await once(request, 'response') as [IncomingMessage]
  return {
    status: answer.statusCode,
    headers: answer.headers,
    jobId: String(answer.headers['x-job-id']),
    cut: () => { request.destroy() },
    /** The next chunk, when it arrives. */
    piece: async () => String((await once(answer, 'data'))[0]),
    /** The rest. @throws Error if the transfer is aborted */
    text: async () => {
      answer.setEncoding('utf8')
      let text = ''
      for await (const chunk of answer) text += String(chunk)
      return text
    }
  }
}

/** A job's own id, from the one in X-Job-ID. */
export async function idOf (service: Service, shortId: string): Promise<string> {
  return String(await service.services.redis.hget(service.services.keys.key('drop-in', 'short-ids'), shortId))
}
