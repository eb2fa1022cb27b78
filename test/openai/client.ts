import { keyHeaders } from '../api/access-key.ts'
import type { AccessKeyFields } from '../../src/access/keys.ts'
import type { Service } from '../helper.ts'

export type Fields = Record<string, unknown>
export interface Image { readonly url?: string, readonly b64_json?: string }
export interface Images {
  readonly data: readonly Image[]
  readonly size: string
  readonly quality: string
  readonly output_format: string
}
export interface Failure {
  readonly error: { message: string, type: string, param: string | null, code: string | null }
}

/** Headers of a client that has the secret of an access key and nothing else. */
export async function bearer (
  service: Pick<Service, 'services'>, fields: AccessKeyFields = {}
): Promise<Record<string, string>> {
  const { headers } = await keyHeaders(service, fields)
  return { authorization: `Bearer ${headers['X-API-Secret']}` }
}

/** The smallest image that a server generates quickly. */
export const small = { prompt: 'a lighthouse', size: '64x64', quality: 'low' } as const

/** Calls a route with a form, as the packages send one. */
export async function sendForm (
  service: Pick<Service, 'url'>, path: string, parts: ReadonlyArray<readonly [name: string, value: string | Buffer]>, headers: Record<string, string>
): Promise<{ status: number, headers: Headers, body: Fields }> {
  const form = new FormData()
  for (const [name, value] of parts) {
    if (typeof value === 'string') form.append(name, value)
    else form.append(name, new Blob([Uint8Array.from(value)], { type: 'image/png' }), `${name.replace('[]', '')}.png`)
  }
  const answer = await fetch(service.url + path, { method: 'POST', body: form, headers })
  return { status: answer.status, headers: answer.headers, body: await answer.json() as Fields }
}
