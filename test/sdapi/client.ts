import type { Service } from '../helper.ts'

export type Fields = Record<string, unknown>
export type Generation = { images: string[], parameters: Fields, info: string }

export const base64 = (text: string) => Buffer.from(text).toString('base64')

/** Everything is read as JSON, as these clients do, whatever the status. */
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
