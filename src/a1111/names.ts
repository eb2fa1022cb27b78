import { ServiceError } from '../lib/errors.ts'
import { foldedText } from '../lib/text.ts'
import type { Checkpoint, Inventory } from './types.ts'

/**
 * How names of models, samplers and the like are compared: people and programs write the same thing with
 * other slashes, cases, endings and signs.
 */

const modelEnding = /\.(safetensors|ckpt|pth|pt|bin|gguf|sft)$/i

/** The name without one file ending of a model. */
export function withoutEnding (name: string): string {
  return name.replace(modelEnding, '')
}

/** Longest hash that stands behind a name, in letters: a whole SHA-256. */
const longestHash = 64

/**
 * A name such as `model.safetensors [0123456789]`, split; the hash is null if there is none.
 * @param shortest minimum letters of a hash
 */
export function splitHash (title: string, shortest = 8): { readonly name: string, readonly hash: string | null } {
  const open = title.endsWith(']') ? title.lastIndexOf('[') : -1
  const hash = title.slice(open + 1, -1)
  const isHash = open !== -1 && hash.length >= shortest && hash.length <= longestHash && /^[0-9a-f]+$/i.test(hash)
  return isHash ? { name: title.slice(0, open).trimEnd(), hash } : { name: title, hash: null }
}

/** Runs of either slash become one `/`. */
export function withForwardSlashes (path: string): string {
  return path.replace(/[\\/]+/g, '/')
}

/** The part after the last slash of either kind. */
export function lastPart (path: string): string {
  return path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1)
}

/** File name without folder and ending. */
export function bareName (path: string): string {
  return withoutEnding(lastPart(path.trim()))
}

/**
 * A name reduced to its distinctive letters, so that `DPM++ 2S a`, `dpmpp_2s_ancestral` and `k_dpmpp_2s_a` become
 * equal.
 */
export function folded (name: string): string {
  return foldedText(name.trim())
    .replace(/^k[_ ]/, '')
    .replaceAll('++', 'pp')
    .replaceAll('ancestral', 'a')
    .replace(/[\s_-]+/g, '')
}

/**
 * The entry that a name means: spelled exactly, else in another case, else folded. If several entries match in one way,
 * that way decides nothing.
 */
export function findNamed<Entry> (
  wanted: string, entries: readonly Entry[], namesOf: (entry: Entry) => readonly string[]
): Entry | null {
  for (const [place, spell] of spellings.entries()) {
    const found = indexOf(entries, namesOf, place).get(spell(wanted))
    if (found !== undefined) return found
  }
  return null
}

/** Ways in which names are compared, from the surest to the least sure. */
const spellings: ReadonlyArray<(name: string) => string> = [
  name => name.trim(), name => name.trim().normalize('NFC').toLowerCase(), name => foldedText(name.trim()), folded
]

/** The entry that each name decides for. */
type NameIndex<Entry> = ReadonlyMap<string, Entry>

/**
 * By list and the function that reads its names: one for each spelling that was needed. Every submission looks names
 * up in the lists of servers, which change rarely.
 */
const nameIndexes = new WeakMap<object, WeakMap<object, Array<NameIndex<unknown> | undefined>>>()

function indexOf<Entry> (
  entries: readonly Entry[], namesOf: (entry: Entry) => readonly string[], place: number
): NameIndex<Entry> {
  const ofList = nameIndexes.get(entries) ?? new WeakMap<object, Array<NameIndex<unknown> | undefined>>()
  nameIndexes.set(entries, ofList)
  const known = ofList.get(namesOf) ?? []
  ofList.set(namesOf, known)
  const index = known[place] as NameIndex<Entry> | undefined ?? makeIndex(entries, namesOf, spellings[place] ?? folded)
  known[place] = index
  return index
}

function makeIndex<Entry> (
  entries: readonly Entry[], namesOf: (entry: Entry) => readonly string[], spell: (name: string) => string
): NameIndex<Entry> {
  const all = new Map<string, Entry[]>()
  const own = new Map<string, Entry[]>()
  const add = (lists: Map<string, Entry[]>, name: string, entry: Entry) => {
    const list = lists.get(name)
    if (list === undefined) lists.set(name, [entry])
    else list.push(entry)
  }
  for (const entry of entries) {
    const names = namesOf(entry).map(spell)
    for (const name of new Set(names)) add(all, name, entry)
    if (names[0] !== undefined) add(own, names[0], entry)
  }
  const index = new Map<string, Entry>()
  for (const [name, matches] of all) {
    // its own name takes precedence over aliases of others
    const decided = matches.length === 1 ? matches : own.get(name) ?? []
    if (decided.length === 1) index.set(name, decided[0] as Entry)
  }
  return index
}

/** Below this likeness (0 to 1) a name would only mislead. */
const minLikeness = 0.3
/** Names are compared up to this length; beyond it edit distance costs more than it is worth. */
const comparedLength = 120

/**
 * The candidates that the author of `wanted` can have meant, likeliest first.
 * @param count maximum number of results
 * @param least likeness (0 to 1) that a name must have
 */
export function nearest (
  wanted: string, candidates: readonly string[], count = 3, least = minLikeness
): string[] {
  const target = comparable(wanted)
  return candidates
    .map(candidate => ({ candidate, likeness: likeness(target, comparable(candidate)) }))
    .filter(({ likeness }) => likeness >= least)
    .sort((one, other) => other.likeness - one.likeness || one.candidate.localeCompare(other.candidate))
    .slice(0, count)
    .map(({ candidate }) => candidate)
}

interface Comparable {
  readonly text: string
  readonly tokens: ReadonlySet<string>
}

function comparable (name: string): Comparable {
  const plain = withoutEnding(splitHash(withForwardSlashes(name.slice(0, 2 * comparedLength)), 1).name)
  const tokens = plain.toLowerCase().split(/[^\p{Letter}\p{Number}]+/u).filter(Boolean)
  return { text: folded(plain).slice(0, comparedLength), tokens: new Set(tokens) }
}

function likeness (one: Comparable, other: Comparable): number {
  const longest = Math.max(one.text.length, other.text.length)
  if (longest === 0) return 0
  const byEdits = 1 - editDistance(one.text, other.text) / longest
  const shared = [...one.tokens].filter(token => other.tokens.has(token)).length
  const byTokens = 0.9 * shared / Math.max(one.tokens.size, other.tokens.size, 1)
  return Math.max(byEdits, byTokens, byPart(one.text, other.text))
}

/** One name inside the other, as people leave out versions; better the larger the part. */
function byPart (one: string, other: string): number {
  const [short, long] = one.length <= other.length ? [one, other] : [other, one]
  if (short.length < 3 || !long.includes(short)) return 0
  return (long.startsWith(short) ? 0.5 : 0.35) + 0.5 * short.length / long.length
}

/** Least number of letters added, taken away or exchanged, or neighbours swapped, that makes one text the other. */
function editDistance (one: string, other: string): number {
  let beforePrevious: number[] = []
  let previous = Array.from({ length: other.length + 1 }, (_, index) => index)
  for (let row = 1; row <= one.length; row++) {
    const current = [row]
    for (let column = 1; column <= other.length; column++) {
      const exchange = (previous[column - 1] ?? 0) + (one[row - 1] === other[column - 1] ? 0 : 1)
      const isSwap = row > 1 && column > 1 && one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1]
      const swap = isSwap ? (beforePrevious[column - 2] ?? 0) + 1 : Infinity
      current.push(Math.min(exchange, swap, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1))
    }
    beforePrevious = previous
    previous = current
  }
  return previous[other.length] ?? 0
}

type Lora = Inventory['loras'][number]

// Lists are indexed by these functions.
const itself = (name: string) => [name]
const bareNames = (file: string) => [bareName(file)]
const loraNames = (lora: Lora) => [lora.name]
const loraAliases = (lora: Lora) => [lora.alias]

/** Values of `sd_vae` besides a file: choose by the checkpoint's name, or use the one inside the checkpoint. */
const vaeWords = ['Automatic', 'None']

/** A VAE (on Forge also a text encoder) by name, with or without folder and ending, in any case. */
export function findVae (wanted: string, inventory: Pick<Inventory, 'vaes'>): string | null {
  return findNamed(wanted, vaeWords, itself) ?? findFile(wanted, inventory.vaes)
}

function findFile (wanted: string, files: readonly string[]): string | null {
  return findNamed(wanted, files, itself) ?? findNamed(bareName(wanted), files, bareNames)
}

/** A LoRA by the name or alias that tags use; paths and endings are cut off, since tags never have them. */
export function findLora (wanted: string, inventory: Pick<Inventory, 'loras'>): Lora | null {
  return findNamed(wanted, inventory.loras, loraNames) ??
    findNamed(wanted, inventory.loras, loraAliases) ??
    findNamed(bareName(wanted), inventory.loras, loraNames)
}

/** A latent mode or an upscaler for hires fix, in any case. */
export function findUpscaler (
  wanted: string, inventory: Pick<Inventory, 'latentUpscaleModes' | 'upscalers'>
): string | null {
  return findListed(wanted, inventory.latentUpscaleModes) ?? findFile(wanted, inventory.upscalers)
}

/** A style, script or other plain name, in any case. */
export function findListed (wanted: string, names: readonly string[]): string | null {
  return findNamed(wanted, names, itself)
}

type Sampler = Inventory['samplers'][number]
type Scheduler = Inventory['schedulers'][number]

export interface SamplerChoice {
  /** The server's own name. */
  readonly sampler: string
  /** The scheduler in the wanted name; null if it named none. */
  readonly scheduler: Scheduler | null
}

const samplerNames = (sampler: Sampler) => [sampler.name, ...sampler.aliases]
const schedulerNames = (scheduler: Scheduler) => [scheduler.name, scheduler.label, ...scheduler.aliases]

/** A scheduler by name, label or alias, in any case. */
export function findScheduler (wanted: string, inventory: Pick<Inventory, 'schedulers'>): Scheduler | null {
  return findNamed(wanted, inventory.schedulers, schedulerNames)
}

/**
 * A sampler as any era and tool names it: `DPM++ 2M Karras` is one name before A1111 1.9 and a sampler
 * with a scheduler since; `k_euler_a`, `euler a` and `euler_ancestral` are the same.
 */
export function findSampler (
  wanted: string, inventory: Pick<Inventory, 'samplers' | 'schedulers'>
): SamplerChoice | null {
  const whole = findNamed(wanted, inventory.samplers, samplerNames)
  if (whole !== null) return { sampler: whole.name, scheduler: null }
  for (const [ending, scheduler] of schedulerEndings(inventory.schedulers)) {
    const name = folded(wanted)
    if (!name.endsWith(ending)) continue
    const sampler = findNamed(name.slice(0, -ending.length), inventory.samplers, samplerNames)
    if (sampler !== null) return { sampler: sampler.name, scheduler }
  }
  return null
}

const knownEndings = new WeakMap<object, ReadonlyArray<[string, Scheduler]>>()

/** Longest first, so that `SGM Uniform` is not taken for `Uniform`. */
function schedulerEndings (schedulers: readonly Scheduler[]): ReadonlyArray<[string, Scheduler]> {
  const endings = knownEndings.get(schedulers) ?? schedulers
    .flatMap(scheduler => schedulerNames(scheduler).map((name): [string, Scheduler] => [folded(name), scheduler]))
    .sort(([one], [other]) => other.length - one.length)
  knownEndings.set(schedulers, endings)
  return endings
}

const wholeHash = /^([0-9a-f]{8}|[0-9a-f]{10}|[0-9a-f]{12}|[0-9a-f]{64})$/i

/** A client's name, parsed. */
interface Wanted {
  readonly text: string
  /** Forward slashes, no `[hash]`, no file ending. */
  readonly path: string
  readonly hash: string | null
}

type Way = (checkpoint: Checkpoint, wanted: Wanted) => boolean

/**
 * The server's checkpoint that a name means. A1111 knows only exact names and continues with another checkpoint if
 * there is no match; clients write either slash, absolute paths, other cases, names with and without ending or `[hash]`
 * (a stale one does not count against the right file), or only a hash.
 * @throws ServiceError `checkpoint_not_found` naming all of them when several files have that name
 */
export function findCheckpoint (wanted: string, inventory: Pick<Inventory, 'checkpoints'>): Checkpoint | null {
  const parts = takenApart(wanted)
  for (const way of ways) {
    const matches = inventory.checkpoints.filter(checkpoint => way(checkpoint, parts))
    if (matches.length > 0) return theOne(matches, parts)
  }
  return null
}

function takenApart (wanted: string): Wanted {
  const text = wanted.trim()
  const suffix = splitHash(text).hash
  const path = pathOf(text)
  const hash = suffix ?? (wholeHash.test(path) ? path : null)
  return { text, path, hash: hash === null ? null : hash.toLowerCase() }
}

function pathOf (title: string): string {
  return withoutEnding(withForwardSlashes(splitHash(title).name))
}

/** From the surest to the least sure; the first match decides. */
const ways: readonly Way[] = [
  (checkpoint, { text }) => checkpoint.title === text,
  // a name can end in brackets of its own
  (checkpoint, { text }) =>
    [pathOf(checkpoint.title), ...shortNames(checkpoint)].includes(withoutEnding(withForwardSlashes(text))),
  (checkpoint, { path }) => pathOf(checkpoint.title) === path,
  (checkpoint, { path }) => lower(pathOf(checkpoint.title)) === lower(path),
  // an absolute path, of this machine or another one: the folders that the server knows are its last parts
  (checkpoint, { path }) => isAbsolute(path) && lower(path).endsWith(`/${lower(pathOf(checkpoint.title))}`),
  (checkpoint, { path }) => shortNames(checkpoint).includes(path),
  (checkpoint, { path }) => shortNames(checkpoint).some(name => lower(name) === lower(path)),
  (checkpoint, { path }) => [pathOf(checkpoint.title), ...shortNames(checkpoint)]
    .some(name => foldedText(name) === foldedText(path)),
  (checkpoint, { hash }) => hash !== null && hasHash(checkpoint, hash)
]

/** A1111's own name for the file, which joins folders by `_`, and the file's name alone. */
function shortNames (checkpoint: Checkpoint): string[] {
  return [checkpoint.modelName, lastPart(pathOf(checkpoint.title))]
}

const lower = (text: string): string => text.normalize('NFC').toLowerCase()

function isAbsolute (path: string): boolean {
  return path.startsWith('/') || /^[a-z]:\//i.test(path)
}

/** Whether a short or whole hash is the checkpoint's; false if the server has not hashed the file yet. */
export function hasHash (checkpoint: Checkpoint, hash: string): boolean {
  const wanted = lower(hash)
  const own = [checkpoint.hash, splitHash(checkpoint.title).hash]
  if (own.some(known => known !== null && known !== '' && lower(known) === wanted)) return true
  return wanted.length >= 10 && checkpoint.sha256 !== null && lower(checkpoint.sha256).startsWith(wanted)
}

function theOne (matches: readonly Checkpoint[], wanted: Wanted): Checkpoint {
  const [first] = matches
  if (first !== undefined && matches.length === 1) return first
  const { hash } = wanted
  const byHash = hash === null ? [] : matches.filter(checkpoint => hasHash(checkpoint, hash))
  if (byHash.length === 1 && byHash[0] !== undefined) return byHash[0]
  // the longest known path is the most particular end of an absolute one
  const [longest, next] = matches.toSorted((one, other) => other.title.length - one.title.length)
  if (isAbsolute(wanted.path) && longest !== undefined && longest.title.length > (next?.title.length ?? 0)) {
    return longest
  }
  const titles = matches.map(checkpoint => checkpoint.title)
  throw new ServiceError('checkpoint_not_found',
    `Several checkpoints are called "${lastPart(wanted.text)}": ${titles.join(', ')}. Name one with its folder.`,
    { field: 'checkpoint_name', nearest: titles })
}
