import { parseArgs } from 'node:util'
import { scopes as allScopes, type Scope } from '../../schemas/api-key.ts'
import type { AccessKey, AccessKeys } from '../access/keys.ts'
import { defaultScopes, isScope } from '../access/principal.ts'
import { UsageError } from '../lib/errors.ts'

const usage = `Usage:
  stablequeue keys create --name NAME [--scopes a,b|*] [--description TEXT] [--rate N|none] [--json]
  stablequeue keys list [--json]
  stablequeue keys revoke ID|KEY [--json]`

/**
 * Access keys from the command line.
 * @param print receives one finished text
 * @throws UsageError for unknown words
 */
export async function runKeys (
  argv: readonly string[], accessKeys: AccessKeys, print: (text: string) => void
): Promise<void> {
  const { positionals, values } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      name: { type: 'string' },
      scopes: { type: 'string' },
      description: { type: 'string' },
      rate: { type: 'string' },
      json: { type: 'boolean' }
    }
  })
  const [action, subject] = positionals
  const show = (value: unknown, text: string) => { print(values.json ? JSON.stringify(value, null, 2) : text) }

  if (action === 'create') {
    if (!values.name) throw new UsageError(`--name is missing.\n${usage}`)
    const { accessKey, secret } = await accessKeys.create({
      name: values.name,
      scopes: values.scopes === undefined ? defaultScopes : scopesOf(values.scopes),
      ...(values.description === undefined ? {} : { description: values.description }),
      ...(values.rate === undefined ? {} : { ratePerMinute: rateOf(values.rate) })
    })
    show({ ...accessKey, secret }, `Key:    ${accessKey.key}\nSecret: ${secret}\n\nThe secret is shown only this once.`)
  } else if (action === 'list') {
    const keys = await accessKeys.list()
    show(keys, keys.length === 0 ? 'There is no access key.' : keys.map(lineOf).join('\n'))
  } else if (action === 'revoke') {
    const found = (await accessKeys.list()).find(({ id, key }) => id === subject || key === subject)
    if (found === undefined) throw new UsageError(`There is no access key ${subject ?? ''}; see: stablequeue keys list`)
    await accessKeys.remove(found.id)
    show({ revoked: found.id }, `Revoked ${found.key} (${found.name}).`)
  } else {
    throw new UsageError(usage)
  }
}

function lineOf ({ id, key, name, active, scopes }: AccessKey): string {
  return `${id}  ${key}  ${active ? 'active ' : 'off    '}  ${name}  ${[...scopes].join(',')}`
}

function scopesOf (text: string): Scope[] {
  return text.split(',').map(word => {
    const scope = word.trim()
    if (isScope(scope)) return scope
    throw new UsageError(`${scope} is no scope; there are: ${allScopes.join(', ')}`)
  })
}

function rateOf (text: string): number | null {
  if (text === 'none') return null
  const rate = Number(text)
  if (Number.isInteger(rate) && rate > 0) return rate
  throw new UsageError(`--rate must be a whole number above 0, or none.\n${usage}`)
}
