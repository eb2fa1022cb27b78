/** An error that a server reported for a generation. */
export interface ServerSaid {
  /** The request, without the differences between jobs of the same script: see `requestSignature`. */
  readonly request: string
  /** The server's words. */
  readonly words: string
}

/**
 * Weighs errors that can be the server's or the request's fault. Kept in the memory of one process: a new process
 * learns it again within a few generations.
 */
export interface Suspicions {
  /**
   * Records an error. `known`: the same request met the same error here before, so the request is at fault. `server`:
   * different requests met different errors one after the other, so the server is at fault.
   */
  note (said: ServerSaid): 'first' | 'known' | 'server'
  /** A generation of this request succeeded. @param request called only if that matters, as it costs a hash */
  wentWell (request: () => string): void
}

/** Different requests with different errors, without a successful generation in between. */
const maxSuspicions = 3
const maxRemembered = 200

export function createSuspicions (): Suspicions {
  /** The errors that count against the server. */
  let open: ServerSaid[] = []
  /** Error words by request, the oldest first. */
  const known = new Map<string, ServerSaid>()
  const nameOf = ({ request, words }: ServerSaid) => `${request}\n${words}`

  return {
    note ({ request, words: text }) {
      const said = { request, words: normaliseWords(text) }
      const name = nameOf(said)
      if (known.has(name)) {
        open = open.filter(one => one.words !== said.words)
        return 'known'
      }
      known.set(name, said)
      const [oldest] = known.keys()
      if (known.size > maxRemembered && oldest !== undefined) known.delete(oldest)
      const isNew = open.every(one => one.request !== said.request && one.words !== said.words)
      if (isNew) open.push(said)
      return isNew && open.length >= maxSuspicions ? 'server' : 'first'
    },
    wentWell (request) {
      open = []
      if (known.size === 0) return
      const well = request()
      for (const [name, said] of known) if (said.request === well) known.delete(name)
    }
  }
}

/** Numbers, paths, hexadecimal ids, and units that go with numbers. */
const changing =
  /[\d/\\]|^(?:\w+=)?[0-9a-f]{8,}$|^[-+]?(?:nan|inf)$|^(?:ms|s|sec|seconds?|min|minutes?|hours?|[kmgt]i?b)$/

/**
 * Words of an error without the parts that change each time: numbers with their units, addresses, ids, files. Several
 * in a row count as one, since arrays are printed with changing lengths and blanks.
 */
export function normaliseWords (text: string): string {
  const words = text.toLowerCase().match(/[^\s,;()[\]{}<>"']+/g) ?? []
  const plain = words.map(word => changing.test(word) ? '#' : word)
  return plain.filter((word, place) => word !== '#' || plain[place - 1] !== '#').join(' ')
}
