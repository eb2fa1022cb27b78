import sharp from 'sharp'
import { onNotices, type Service } from '../helper.ts'

export type Fields = Record<string, unknown>
/** A1111's answer to a generation. */
export interface Generation { readonly images: string[], readonly parameters: Fields, readonly info: string }

export interface Sent {
  readonly json?: unknown
  readonly form?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

export type Ask = (method: string, path: string, sent?: Sent) => Promise<Response>

/** Requests of a client with these headers; each test reads the answers like its client. */
export function asking (service: Pick<Service, 'url'>, always: Readonly<Record<string, string>> = {}): Ask {
  return async (method, path, { json, form, headers, signal } = {}) => {
    const body = json === undefined ? form && new URLSearchParams(form) : JSON.stringify(json)
    return await fetch(service.url + path, {
      method,
      headers: { ...always, ...(json === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body }),
      ...(signal === undefined ? {} : { signal })
    })
  }
}

export async function jsonOf<Value = Fields> (answer: Promise<Response> | Response): Promise<Value> {
  return await (await answer).json() as Value
}

export const basic = (pair: string): Record<string, string> =>
  ({ authorization: `Basic ${Buffer.from(pair).toString('base64')}` })

/** An image as clients send it. */
export const drawing = (await sharp({ create: { width: 64, height: 64, channels: 3, background: '#804020' } })
  .png().toBuffer()).toString('base64')

/** Opens the image like a client; throws if it is not one. */
export async function opened (base64: string | undefined) {
  const { format, width, height } = await sharp(Buffer.from(base64 ?? '', 'base64')).metadata()
  return { format, width, height }
}

/** Resolves when a generation runs; rejects if the call that should start it ends before. */
export async function running (service: Service, call: Promise<unknown>): Promise<void> {
  const ended = call.then(() => { throw new Error('the call ended before it ran') })
  ended.catch(() => undefined)
  await Promise.race([ended, onNotices(service.services, async () =>
    await service.services.list.count({ status: 'processing' }) > 0 || undefined)])
}

/** Resolves when the service has read its server's inventory. */
export async function listsRead ({ services }: Service): Promise<void> {
  const ids = services.registry.list().map(({ id }) => id)
  await patiently(async () => (await Promise.all(ids.map(services.states.freshInventory))).every(one => one !== null))
}

/** Resolves when the service has noticed that the only server is gone. */
export async function serverGone ({ services, simulator }: Service): Promise<void> {
  await simulator.close()
  const ids = services.registry.list().map(({ id }) => id)
  await patiently(async () => (await services.states.readMany(ids)).every(state => state?.reachable === 'no'))
}

async function patiently (look: () => Promise<boolean>): Promise<void> {
  while (!await look()) await new Promise(resolve => { setTimeout(resolve, 20) })
}

/** Makes one generation fail as in A1111 when a script or a model causes an error. */
export function failNext (service: Service): void {
  service.simulator.setFaults([{ kind: 'runtime-error', message: 'mat1 and mat2 shapes cannot be multiplied' }])
}
