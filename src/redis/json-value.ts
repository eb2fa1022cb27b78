import { parseJsonText, stringifyJson } from '../lib/exact-json.ts'
import type { Redis } from 'ioredis'
import { loadScript } from './scripts.ts'

const replaceValue = loadScript<[value: string], [before: string, after: string], 0 | 1>(
  new URL('scripts/replace-value.lua', import.meta.url))

export async function readJson<Value> (redis: Redis, key: string): Promise<Value | null> {
  const text = await redis.get(key)
  return text === null ? null : parseJsonText(text) as Value
}

/**
 * Changes a value that is stored as JSON, so that two changes at once both hold: after a lost race it calls `change`
 * again with the new value.
 * @param change returns the new value, or null to remove it
 */
export async function changeJson<Value> (
  redis: Redis, key: string, change: (value: Value | null) => Value | null
): Promise<{ readonly before: Value | null, readonly after: Value | null }> {
  for (;;) {
    const text = await redis.get(key) ?? ''
    const before = text === '' ? null : parseJsonText(text) as Value
    const after = change(before)
    const next = after === null ? '' : stringifyJson(after)
    if (next === text || await replaceValue(redis, [key], [text, next]) === 1) return { before, after }
  }
}
