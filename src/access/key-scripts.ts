import { loadScript, type Script, type ScriptArgument } from '../redis/scripts.ts'

/**
 * Changes of access keys, one script each: none can restore a key that was removed meanwhile, and each one tells the
 * other processes which key to drop. All answer 0 if there was nothing to change.
 */
function load<Keys extends readonly string[], Args extends readonly ScriptArgument[]> (
  name: string
): Script<Keys, Args, 0 | 1> {
  return loadScript(new URL(`scripts/${name}.lua`, import.meta.url))
}

type Everywhere = [record: string, list: string, byPublicHalf: string]

export const createKey = load<Everywhere,
  [when: 'any' | 'first', channel: string, id: string, created: number, key: string, ...fields: string[]]>('create-key')
export const updateKey = load<[record: string], [channel: string, ...fields: string[]]>('update-key')
export const rotateKey = load<[record: string], [channel: string, hash: string, until: number]>('rotate-key')
export const removeKey = load<Everywhere, [channel: string, id: string]>('remove-key')
export const noteUse = load<[record: string], [uses: number, last: number]>('note-use')
export const replaceHash = load<[record: string], [field: string, before: string, after: string]>('replace-hash')
