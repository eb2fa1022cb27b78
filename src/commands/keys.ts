import type { ApiKey, ApiKeyWithSecret } from '../../schemas/api-key.ts'
import { UsageError } from '../lib/errors.ts'
import { type Output, printJson, tableOf } from './output.ts'
import type { Service } from './service.ts'

export interface NewKey {
  readonly name: string
  readonly scopes?: readonly string[]
  readonly description?: string
  /** Requests a minute; null for no limit. */
  readonly rate?: number | null
  /** Whether its jobs go to the background unless they say otherwise. */
  readonly background?: boolean
}

/** Access keys, in the Redis of this installation or at a running service. */
export interface KeyStore {
  create (key: NewKey): Promise<KeyFacts & { readonly secret: string }>
  list (): Promise<KeyFacts[]>
  remove (id: string): Promise<unknown>
}

type KeyFacts = Pick<ApiKey, 'id' | 'key' | 'name' | 'scopes'> & { readonly active: boolean }

export function keysOf (service: Service): KeyStore {
  const factsOf = <Key extends ApiKey>({ is_active: active, ...key }: Key) => ({ ...key, active })
  return {
    async create ({ name, scopes, description, rate, background }) {
      const answer = await service.ask('POST', '/api/v1/api-keys', {
        name, scopes, description, background, ...rate === undefined ? {} : { rate_limit_per_minute: rate }
      }) as { readonly api_key: ApiKeyWithSecret }
      return factsOf(answer.api_key)
    },
    async list () {
      return (await service.ask('GET', '/api/v1/api-keys') as { api_keys: ApiKey[] }).api_keys.map(factsOf)
    },
    remove: id => service.ask('DELETE', `/api/v1/api-keys/${id}`)
  }
}

interface JsonOption { readonly json?: boolean }

export async function createKey (
  keys: KeyStore, { json = false, ...key }: NewKey & JsonOption, output: Output
): Promise<number> {
  const made = await keys.create(key)
  if (json) printJson(output, made)
  else output.out(`Key:    ${made.key}\nSecret: ${made.secret}\n\nThe secret is shown only this once.\n`)
  return 0
}

export async function listKeys (keys: KeyStore, { json = false }: JsonOption, output: Output): Promise<number> {
  const found = await keys.list()
  const rows = found.map(({ id, key, name, active, scopes }) =>
    [id, key, active ? 'active' : 'off', name, [...scopes].join(',')])
  if (json) printJson(output, found)
  else if (found.length === 0) output.out('There is no access key.\n')
  else output.out(tableOf(['ID', 'KEY', 'STATE', 'NAME', 'SCOPES'], rows, output.width))
  return 0
}

/** @param subject id or public half of the key */
export async function revokeKey (
  keys: KeyStore, subject: string, { json = false }: JsonOption, output: Output
): Promise<number> {
  const found = (await keys.list()).find(({ id, key }) => id === subject || key === subject)
  if (found === undefined) throw new UsageError(`There is no access key ${subject}; see: stablequeue keys list`)
  await keys.remove(found.id)
  if (json) printJson(output, { revoked: found.id })
  else output.out(`Revoked ${found.key} (${found.name}).\n`)
  return 0
}
