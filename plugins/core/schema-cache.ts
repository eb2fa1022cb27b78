import { setImmediate as turn } from 'node:timers/promises'

/**
 * What Ajv and fast-json-stringify make of schemas takes most of a start, and most routes are not called soon. So a
 * schema is compiled when it is first used, once in a process, or by `compileWaiting` in the moments after a start.
 */

/** Compiles that nobody has asked for yet. */
const waiting = new Set<() => unknown>()

/** The value when it is first asked for, and that same one from then on. */
export function onceAsked<Value> (make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined
  const ask = () => {
    waiting.delete(ask)
    made ??= { value: make() }
    return made.value
  }
  waiting.add(ask)
  return ask
}

/** One value for each object, made when it is first asked for. */
export function onceFor<Value> (make: (object: object) => Value): (object: object) => () => Value {
  const known = new WeakMap<object, () => Value>()
  return object => {
    const found = known.get(object)
    if (found !== undefined) return found
    const made = onceAsked(() => make(object))
    known.set(object, made)
    return made
  }
}

/**
 * Compiles what was not used yet, with a turn for requests after each.
 * @throws Error of the first schema that cannot be compiled
 */
export async function compileWaiting (signal?: AbortSignal): Promise<void> {
  for (const compile of waiting) {
    if (signal?.aborted === true) return
    compile()
    await turn()
  }
}
