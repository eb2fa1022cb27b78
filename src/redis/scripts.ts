import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'

export type ScriptArgument = string | number

/**
 * A Lua script that Redis runs in one step. Redis gets its SHA-1 and, if it does not know that yet, its text.
 * Give the types in the order of the script's header: `loadScript<[record: string], [id: string], 0 | 1>(…)`.
 */
export interface Script<Keys extends readonly string[], Args extends readonly ScriptArgument[], Answer> {
  (redis: Redis, keys: Readonly<Keys>, args: Readonly<Args>): Promise<Answer>
  readonly scriptName: string
  /** The whole text, with its includes. */
  readonly lua: string
  readonly sha: string
}

/** Number of keys or arguments in a header, and whether any number can follow. */
interface Listed {
  readonly count: number
  readonly more: boolean
}

/**
 * Reads a script, such as `new URL('scripts/start-job.lua', import.meta.url)`. The build copies `.lua` files beside the
 * compiled modules.
 * A script begins with a comment that lists `KEYS[1]`, `ARGV[1]` and so on, `ARGV[2...]` if any number can follow. A
 * line `--- @include "name"` includes the file `name.lua`, relative to the script; each file is included once. A line
 * `--- @external "name"` includes a text that a folder above this one provides.
 * @throws Error if a file or an external text is missing
 */
export function loadScript<Keys extends readonly string[], Args extends readonly ScriptArgument[], Answer> (
  file: URL, externals: Externals = {}
): Script<Keys, Args, Answer> {
  const lua = readLua(file, externals)
  const sha = createHash('sha1').update(lua).digest('hex')
  const scriptName = file.pathname.slice(file.pathname.lastIndexOf('/') + 1, -'.lua'.length)
  const header = lua.slice(0, lua.indexOf(']]'))
  const [listedKeys, listedArgs] = [listedIn(header, 'KEYS'), listedIn(header, 'ARGV')]

  async function run (redis: Redis, keys: Readonly<Keys>, args: Readonly<Args>): Promise<Answer> {
    if (!agrees(listedKeys, keys.length) || !agrees(listedArgs, args.length)) {
      throw new Error(`${scriptName}.lua does not take ${keys.length} keys and ${args.length} arguments`)
    }
    try {
      return await redis.evalsha(sha, keys.length, ...keys, ...args) as Answer
    } catch (error) {
      if (!isMissingScript(error)) throw error
      return await redis.eval(lua, keys.length, ...keys, ...args) as Answer
    }
  }

  return Object.assign(run, { scriptName, lua, sha })
}

/** Lua texts that are not files of this tree, by name. */
export type Externals = Readonly<Record<string, string>>

const includeLine = /^--- @(include|external) "([^"\n]+)"$/gm

/** Of files that were read: most scripts include the same ones. */
const texts = new Map<string, string>()

function textOf (file: URL): string {
  const text = texts.get(file.href) ?? readFileSync(file, 'utf8')
  texts.set(file.href, text)
  return text
}

/** The text of a Lua file with its includes in place. @param included what is in it already */
export function readLua (file: URL, externals: Externals = {}, included = new Set<string>()): string {
  included.add(file.href)
  return textOf(file).replace(includeLine, (_line, kind: string, name: string) => {
    if (kind === 'external') {
      const text = externals[name]
      if (text === undefined) throw new Error(`${file.pathname} needs the external text "${name}"`)
      if (included.has(name)) return ''
      included.add(name)
      return text
    }
    const other = new URL(`${name}.lua`, file)
    return included.has(other.href) ? '' : readLua(other, externals, included)
  })
}

function listedIn (header: string, name: 'KEYS' | 'ARGV'): Listed {
  const lines = [...header.matchAll(/^ {2}(KEYS|ARGV)\[(\d+)(\.\.\.)?\]/gm)].filter(([, list]) => list === name)
  const more = lines.at(-1)?.[3] !== undefined
  return { count: lines.length - (more ? 1 : 0), more }
}

function agrees ({ count, more }: Listed, given: number): boolean {
  return more ? given >= count : given === count
}

/** Whether Redis did not know a script that was called by its SHA-1 alone. */
function isMissingScript (error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT')
}

/** The clock of Redis, without asking it each time. */
export interface RedisClock {
  /** Milliseconds since the epoch. */
  now (): Promise<number>
  /** It was found to be wrong: it is asked again. */
  forget (): void
}

/** Asked again after this, since clocks drift and are set, in milliseconds. */
const trustedFor = 60_000

export function createRedisClock (redis: Redis): RedisClock {
  let ahead: number | null = null
  let askedAt = 0
  return {
    async now () {
      if (ahead === null || performance.now() - askedAt > trustedFor) {
        const before = performance.now()
        const [seconds, microseconds] = await redis.time()
        askedAt = performance.now()
        // Half of the round trip is the answer's; our own wall clock, which can be set at any time, is left out.
        ahead = Number(seconds) * 1000 + Number(microseconds) / 1000 - (before + askedAt) / 2
      }
      return performance.now() + ahead
    },
    forget () { ahead = null }
  }
}
