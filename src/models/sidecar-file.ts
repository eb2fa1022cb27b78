import { isUtf8 } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import type { BigIntStats } from 'node:fs'
import { link, lstat, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { applyEdits, type FormattingOptions, modify, parseTree } from 'jsonc-parser'
import { messageOf, ServiceError } from '../lib/errors.ts'
import { stringifyJson } from '../lib/exact-json.ts'
import { type JsonObject, objectOf } from '../lib/json-values.ts'
import { parseJson } from '../lib/json.ts'
import { flushFolder, hasCode } from '../media/file-sink.ts'
import { openInside } from './folders.ts'

/** Members of a JSON object and their new values; undefined removes a member. */
export type MemberChanges = Readonly<Record<string, unknown>>

/** A value in the spelling of another file, to be written unchanged. */
export class WrittenJson {
  readonly text: string

  constructor (text: string) { this.text = text }
}

/** The values of a JSON object's members in their original spelling. */
export function writtenMembers (text: string): Map<string, WrittenJson> {
  const members = parseTree(text)?.children ?? []
  return new Map(members.flatMap(({ children: [name, value] = [] }) => name === undefined || value === undefined
    ? []
    : [[String(name.value), new WrittenJson(text.slice(value.offset, value.offset + value.length))]]))
}

/** Format of a new file: as Forge writes its own. */
const defaultIndent = '    '

/**
 * The text of a JSON object with these members changed. Everything else stays as written: parsing and writing would
 * round numbers and drop members that only other programs understand.
 * @param text a valid JSON object, or nothing
 */
export function withMembers (text: string, changes: MemberChanges): string {
  let changed = text.trim() === '' ? '{}\n' : text
  const [, indent = defaultIndent] = /^\{\s*?\n([ \t]+)"/.exec(changed.trimStart()) ?? []
  const formattingOptions: FormattingOptions = {
    insertSpaces: !indent.includes('\t'),
    tabSize: indent.includes('\t') ? 4 : indent.length,
    eol: changed.includes('\r\n') ? '\r\n' : '\n'
  }
  const written = new Map<string, string>()
  for (const [name, value] of Object.entries(changes)) {
    // of several members with one name, parsers use the last
    for (let spare = countOf(changed, name) - 1; spare > 0; spare--) changed = without(changed, name, formattingOptions)
    if (value === undefined) {
      changed = without(changed, name, formattingOptions)
    } else {
      const mark = `value ${randomUUID()}`
      changed = applyEdits(changed, modify(changed, [name], mark, { formattingOptions }))
      const lines = stringifyJson(value, null, indent.length).split('\n')
      written.set(`"${mark}"`, value instanceof WrittenJson ? value.text : lines.join(`${formattingOptions.eol}${indent}`))
    }
  }
  for (const [mark, value] of written) changed = changed.replace(mark, () => value)
  return changed
}

function without (text: string, name: string, formattingOptions: FormattingOptions): string {
  return applyEdits(text, modify(text, [name], undefined, { formattingOptions }))
}

function countOf (text: string, name: string): number {
  const members = parseTree(text)?.children ?? []
  return members.filter(member => member.children?.[0]?.value === name).length
}

/** No hand-written file is longer, in bytes. */
const longestSidecar = 4 * 1024 * 1024
const sidecarBounds = { depth: 32, values: 200_000 }
const byteOrderMark = '\ufeff'
/** Programs that write the same file at the same time are rare; one that never stops is no reason to go on. */
const maxTries = 5

/** Where a sidecar is. */
export interface SidecarLocation {
  /** Real path of the configured folder. */
  readonly root: string
  readonly folder: string
  readonly name: string
}

interface SidecarText {
  readonly content: JsonObject
  readonly text: string
  readonly version: string
  readonly mode: number
}

/** Content of a sidecar, or why it is unreadable. */
export type SidecarContent =
  | SidecarText & { readonly kind: 'read' }
  | { readonly kind: 'absent' }
  | { readonly kind: 'unreadable', readonly reason: string }

/** A sidecar that cannot be read; it can be a person's, so it stays unchanged. */
export class UnreadableSidecar extends Error {
  override readonly name = 'UnreadableSidecar'
}

/**
 * Folders can be read-only, and a sidecar can be unreadable; it stays unchanged.
 * @throws ServiceError `model_not_writable`, or the error itself if it says all
 */
export function notWritable (error: unknown): never {
  if (error instanceof ServiceError) throw error
  throw new ServiceError('model_not_writable', `Nothing was written beside the model: ${messageOf(error)}.`, {},
    { cause: error })
}

export async function readSidecar ({ root, folder, name }: SidecarLocation): Promise<SidecarContent> {
  const unreadable = (reason: string) => ({ kind: 'unreadable', reason } as const)
  const entry = await lstat(join(folder, name)).catch(() => null)
  if (entry === null) return { kind: 'absent' }
  const file = await openInside(root, folder, name).catch(() => null)
  if (file === null) {
    return unreadable(entry.isSymbolicLink()
      ? 'is a link that leads to no file of the model folders'
      : entry.isFile() ? 'cannot be opened; check its permissions' : 'is no plain file')
  }
  try {
    const stats = await file.stat({ bigint: true })
    if (stats.size > longestSidecar) return unreadable(`is longer than ${longestSidecar / 1024 / 1024} MiB`)
    const bytes = await file.readFile()
    if (!isUtf8(bytes)) return unreadable('is not valid UTF-8; save it in that encoding')
    const text = bytes.toString('utf8')
    // of the time before reading: a write in between makes another version
    const version = versionIn(stats)
    const mode = Number(stats.mode)
    if (text.replace(byteOrderMark, '').trim() === '') return { kind: 'read', content: {}, text, version, mode }
    const content = objectOf(parseJson('It', bytes, sidecarBounds))
    return content === null ? unreadable('is not a JSON object') : { kind: 'read', content, text, version, mode }
  } catch (error) {
    return unreadable(`is not readable: ${messageOf(error)}`)
  } finally {
    await file.close()
  }
}

/** A prepared change of a sidecar, after every check that could refuse it. */
export interface SidecarDraft {
  /** @throws Error where it cannot be written */
  write (): Promise<void>
}

/**
 * Changes members of a JSON file beside a model, all or none, and leaves the rest as written. If another program writes
 * the file in between, the change is applied to the new content.
 * @param change the changes; nothing for a file that can stay unchanged
 * @throws UnreadableSidecar
 */
export async function draftSidecar (
  place: SidecarLocation, change: (content: JsonObject) => MemberChanges
): Promise<SidecarDraft> {
  let before = await readable(place)
  return {
    async write () {
      for (let tries = 1; ; tries++) {
        const changes = Object.entries(change(before.content))
        if (changes.length === 0 || (before.text === '' && changes.every(([, value]) => value === undefined))) return
        const bare = before.text.startsWith(byteOrderMark) ? before.text.slice(1) : before.text
        const after = withMembers(bare, Object.fromEntries(changes))
        const text = bare === before.text ? after : byteOrderMark + after
        if (await replaceFile(place, before, text)) return
        if (tries === maxTries) throw new Error(`another program keeps writing ${place.name}`)
        before = await readable(place)
      }
    }
  }
}

/** Nothing if there is no such file. @throws UnreadableSidecar */
async function readable (place: SidecarLocation): Promise<SidecarText> {
  const found = await readSidecar(place)
  if (found.kind === 'unreadable') throw new UnreadableSidecar(`${place.name} ${found.reason}`)
  if (found.kind === 'absent') return { content: {}, text: '', version: '', mode: 0o644 }
  const stats = await lstat(join(place.folder, place.name)).catch(() => null)
  if (stats?.isSymbolicLink() === true) throw new UnreadableSidecar(`${place.name} is a link, which is not written through`)
  return found
}

/** Whether the file was replaced; false if it changed since it was read. */
async function replaceFile (
  { folder, name }: SidecarLocation, { version, mode }: SidecarText, text: string
): Promise<boolean> {
  const path = join(folder, name)
  const draft = join(folder, `.${randomUUID()}.part`)
  try {
    const file = await open(draft, 'wx', 0o644)
    try {
      await file.writeFile(text)
      await file.chmod(mode & 0o777).catch(() => {}) // a file system without rights
      await file.sync()
    } finally {
      await file.close()
    }
    if (await versionOf(path) !== version) return false
    if (version === '') {
      if (!await nameUnlessTaken(draft, path)) return false
    } else {
      await rename(draft, path)
    }
    await flushFolder(folder)
    return true
  } finally {
    await rm(draft, { force: true })
  }
}

async function nameUnlessTaken (draft: string, path: string): Promise<boolean> {
  try {
    await link(draft, path)
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false
    // a file system without hard links
    if (!hasCode(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK', 'ENOSYS')) throw error
    await rename(draft, path)
  }
  return true
}

/** Changes with every write; empty for a missing file. */
async function versionOf (path: string): Promise<string> {
  const stats = await lstat(path, { bigint: true }).catch(() => null)
  return stats === null ? '' : versionIn(stats)
}

function versionIn ({ ino, size, mtimeNs }: BigIntStats): string {
  return `${ino}:${size}:${mtimeNs}`
}
