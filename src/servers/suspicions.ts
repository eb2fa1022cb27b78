/** An error that a server met at a generation, as it told it. */
export interface ServerSaid {
  /** What was asked, without what differs between jobs of the same script: see `requestSignature`. */
  readonly request: string
  /** The server's words. */
  readonly words: string
}

/**
 * Weighs errors that may be the server's or the request's. Pure memory of one process: what is lost with it is learned
 * again within a few generations.
 */
export interface Suspicions {
  /**
   * Takes note of an error. `known`: the same request met the same error here before, so that it is the request's.
   * `server`: different requests met different errors one after the other, so that it is the server's.
   */
  note (said: ServerSaid): 'first' | 'known' | 'server'
  /** A generation of this request went well. */
  wentWell (request: string): void
}

/** Different requests with different errors, without a generation in between that went well. */
const maxSuspicions = 3
const maxRemembered = 200

export function createSuspicions (): Suspicions {
  /** What counts against the server. */
  let open: ServerSaid[] = []
  /** Words by what was asked, the oldest first. */
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
      for (const [name, said] of known) if (said.request === request) known.delete(name)
    }
  }
}

/** Numbers, paths, hexadecimal ids, and units that go with numbers. */
const changing =
  /[\d/\\]|^(?:\w+=)?[0-9a-f]{8,}$|^[-+]?(?:nan|inf)$|^(?:ms|s|sec|seconds?|min|minutes?|hours?|[kmgt]i?b)$/

/**
 * Words of an error without what changes each time: numbers with their units, addresses, ids, files. Several in a row
 * count as one, since arrays are printed with changing lengths and blanks.
 */
export function normaliseWords (text: string): string {
  const words = text.toLowerCase().match(/[^\s,;()[\]{}<>"']+/g) ?? []
  const plain = words.map(word => changing.test(word) ? '#' : word)
  return plain.filter((word, place) => word !== '#' || plain[place - 1] !== '#').join(' ')
}
