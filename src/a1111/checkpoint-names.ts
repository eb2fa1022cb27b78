import { ServiceError } from '../errors.ts'
import { foldedText } from '../lib/text.ts'
import type { Checkpoint, Inventory } from './types.ts'
import { lastPart, splitHash, withForwardSlashes, withoutEnding } from './names.ts'

const wholeHash = /^([0-9a-f]{8}|[0-9a-f]{10}|[0-9a-f]{12}|[0-9a-f]{64})$/i

/** What a client wrote, taken apart. */
interface Wanted {
  readonly text: string
  /** Forward slashes, no `[hash]`, no file ending. */
  readonly path: string
  readonly hash: string | null
}

type Way = (checkpoint: Checkpoint, wanted: Wanted) => boolean

/**
 * The server's checkpoint that a name means. A1111 knows only exact names and goes on with another
 * checkpoint when there is none; clients write either slash, absolute paths, other cases, names with and
 * without ending or `[hash]` (a stale one does not count against the right file), or only a hash.
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

/** From the surest to the least sure; the first that finds anything decides. */
const ways: readonly Way[] = [
  (checkpoint, { text }) => checkpoint.title === text,
  // a name may end in brackets of its own
  (checkpoint, { text }) =>
    [pathOf(checkpoint.title), ...shortNames(checkpoint)].includes(withoutEnding(withForwardSlashes(text))),
  (checkpoint, { path }) => pathOf(checkpoint.title) === path,
  (checkpoint, { path }) => lower(pathOf(checkpoint.title)) === lower(path),
  // an absolute path, of this machine or another one: the folders that the server knows are its end
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

/** Whether a short or whole hash is the checkpoint's; false where the server has not hashed the file yet. */
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
