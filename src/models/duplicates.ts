import { constants } from 'node:fs'
import { copyFile, link, lstat, readdir, readFile, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { messageOf } from '../lib/errors.ts'
import { type JsonObject, textOf } from '../lib/json-values.ts'
import { hasCode } from '../media/file-sink.ts'
import { type ModelFile, noFacts } from '../model-facts/facts.ts'
import type { CatalogueState } from './catalogue.ts'
import type { Hasher, ModelFileStore } from './file-store.ts'
import { type FolderLocks, isInside, realPathOf } from './folders.ts'
import { inspectAgain } from './inspect.ts'
import {
  draftSidecar, type MemberChanges, readSidecar, type SidecarDraft, UnreadableSidecar, type WrittenJson,
  writtenMembers
} from './sidecar-file.ts'
import { combinedMembers, isCivitaiField, oursIn, type Sidecar, writtenForForge } from './sidecars.ts'
import { folderNames, type FolderNames, previewEndings, sidecarEndings, stemOf } from './walk.ts'

/** Result of a deletion; names of files, without folders. */
export interface Deletion {
  readonly deleted: ReadonlyArray<{ readonly type: 'model' | 'preview' | 'sidecar', readonly name: string }>
  readonly problems: readonly string[]
}

/**
 * Deletes a model file and those of its sidecars and previews that belong to no other model. A file that has changed
 * since the last scan stays. Call it with the lock of the folder.
 */
export async function deleteFile (file: ModelFile, files: ModelFileStore): Promise<Deletion> {
  const folder = dirname(file.absolutePath)
  const name = basename(file.absolutePath)
  const problem = await whyNot(file)
  if (problem !== null) return { deleted: [], problems: [`${name} was left alone: ${problem}`] }
  const names = folderNames(await readdir(folder))
  const { sidecars, previews } = names.companionsOf(name)
  const isOwn = (companion: { readonly name: string }) => names.ownersOf(companion.name).length === 1
  const targets = [
    { type: 'model' as const, name },
    ...sidecars.filter(isOwn).map(sidecar => ({ type: 'sidecar' as const, name: sidecar.name })),
    ...previews.filter(isOwn).map(preview => ({ type: 'preview' as const, name: preview.name }))
  ]
  const deleted: Array<Deletion['deleted'][number]> = []
  const problems: string[] = []
  for (const target of targets) {
    try {
      await rm(join(folder, target.name))
      deleted.push(target)
    } catch (error) {
      problems.push(`${target.name}: ${messageOf(error)}`)
      // beside a model that stays, everything stays
      if (target.type === 'model') return { deleted, problems }
    }
  }
  await files.forget([file.absolutePath])
  return { deleted, problems }
}

/** Why a file must not be deleted; null if it can be. */
async function whyNot ({ absolutePath, root, inode, size, modifiedAt }: ModelFile): Promise<string | null> {
  const real = await realPathOf(absolutePath)
  if (real === null) return 'it no longer exists'
  if (real !== absolutePath || !isInside(real, root)) return 'it has moved'
  const stats = await lstat(real)
  const same = stats.isFile() && `${stats.dev}:${stats.ino}` === inode && stats.size === size && stats.mtimeMs === modifiedAt
  return same ? null : 'it changed after the last scan'
}

/** Members that name the file of a LoRA Manager's sidecar, or were measured on it. */
const aboutTheFile = new Set(['file_name', 'file_path', 'size', 'modified', 'sha256', 'preview_url'])

/**
 * Writes people's words beside a file that is about to be deleted to an equal one that stays, and moves its previews
 * there. Call it with the locks of both folders. Repeated after a crash, it adds nothing twice.
 * @throws Error if anything cannot be moved: then nothing was lost, and the file must not be deleted
 */
async function takeOver (kept: ModelFile, other: ModelFile): Promise<void> {
  const [keptNames, otherNames] = [await namesBeside(kept), await namesBeside(other)]
  const filename = basename(kept.absolutePath)
  const own = await sidecarsOf(kept, keptNames)
  const lost = (await sidecarsOf(other, otherNames))
    .filter(({ name }) => dirname(kept.absolutePath) !== dirname(other.absolutePath) ||
      !own.some(known => known.name === name))
  const isOurs = oursIn([...own, ...lost], [kept, other].flatMap(({ facts }) => facts.civitai ?? []))
  const place = (name: string) => ({ root: kept.root, folder: dirname(kept.absolutePath), name })
  const drafts: SidecarDraft[] = []
  const forge = own.find(({ ending }) => ending === '.json')?.content ?? {}
  let members: JsonObject = forge
  let notes = textOf(forge.notes)

  /** Members that are copied in their original spelling: parsing would lose digits of numbers. */
  const written = new Map<unknown, WrittenJson>()
  const asWritten = (changes: MemberChanges) => Object.fromEntries(Object.entries(changes).map(([member, value]) =>
    [member, written.get(value) ?? value]))

  for (const { ending, content, text } of lost) {
    for (const [member, value] of writtenMembers(text)) {
      if (typeof content[member] !== 'string') written.set(content[member], value)
    }
    const words = Object.entries(content).filter(([member, value]) => member !== writtenForForge &&
      !aboutTheFile.has(member) && !(ending === '.json' && isOurs(member, value)))
    if (ending === '.json') {
      const combined = combinedMembers(members, Object.fromEntries(words), other.path, notes)
      members = { ...members, ...combined.changes }
      notes = combined.notes
      continue
    }
    const target = keptNames.sidecarFor(filename, ending)
    if (target === null) throw new Error(`its ${ending} file would be another model's`)
    const there = own.find(known => known.ending === ending)
    // Civitai's facts are the same for equal files, and can be fetched again
    const isAskable = (member: string) => there !== undefined && ending !== '.metadata.json' && isCivitaiField(member)
    const news = words.filter(([member]) => !isAskable(member))
    if (there === undefined && ending === '.metadata.json') {
      news.push(['file_name', stemOf(filename)], ['file_path', kept.absolutePath])
    }
    const { changes, notes: more } = combinedMembers(there?.content ?? {}, Object.fromEntries(news), other.path, notes)
    notes = more
    drafts.push(await draftSidecar(place(target), () => asWritten(changes)))
  }
  const changes = Object.fromEntries(Object.entries({ ...members, ...(notes === null ? {} : { notes }) })
    .filter(([member, value]) => forge[member] !== value))
  if (Object.keys(changes).length > 0) {
    const target = keptNames.sidecarFor(filename, '.json')
    if (target === null) throw new Error('its .json file would be another model\'s')
    drafts.push(await draftSidecar(place(target), () => asWritten(changes)))
  }
  for (const draft of drafts) await draft.write()
  await layPreviews(kept, keptNames, other, otherNames)
}

async function namesBeside ({ absolutePath }: ModelFile): Promise<FolderNames> {
  return folderNames(await readdir(dirname(absolutePath)))
}

/** @throws UnreadableSidecar: it can hold a person's words */
async function sidecarsOf (
  { root, absolutePath }: ModelFile, names: FolderNames
): Promise<Array<Sidecar & { readonly name: string, readonly text: string }>> {
  const folder = dirname(absolutePath)
  const found = names.companionsOf(basename(absolutePath)).sidecars
  const read = await Promise.all(found.map(async ({ name, ending }) => {
    const outcome = await readSidecar({ root, folder, name })
    if (outcome.kind === 'unreadable') throw new UnreadableSidecar(`${name} ${outcome.reason}`)
    if (outcome.kind === 'absent') return []
    return [{ name, ending, content: outcome.content, text: outcome.text.replace(/^\ufeff/, '') }]
  }))
  return read.flat().sort((one, two) => sidecarEndings.indexOf(one.ending) - sidecarEndings.indexOf(two.ending))
}

/** @throws Error for an image without a free name beside the file that stays */
async function layPreviews (
  kept: ModelFile, keptNames: FolderNames, other: ModelFile, otherNames: FolderNames
): Promise<void> {
  const [folder, from] = [dirname(kept.absolutePath), dirname(other.absolutePath)]
  const filename = basename(kept.absolutePath)
  const present = keptNames.companionsOf(filename).previews.map(({ name }) => name)
  const known = await Promise.all(present.map(async name => await readFile(join(folder, name))))
  for (const { name, ending } of otherNames.companionsOf(basename(other.absolutePath)).previews) {
    if (folder === from && present.includes(name)) continue
    const image = await readFile(join(from, name))
    if (known.some(bytes => bytes.equals(image))) continue
    // its own extension first, then others of the same format
    const format = ending.slice(ending.lastIndexOf('.'))
    const targets = [ending, ...previewEndings.filter(one => one.endsWith(format))].map(one => `${stemOf(filename)}${one}`)
    const target = targets.find(one => !present.includes(one) && keptNames.ownersOf(one).includes(filename))
    if (target === undefined) throw new Error(`its picture ${name} is another than that of ${filename}`)
    await moveNew(join(from, name), join(folder, target))
    present.push(target)
    known.push(image)
  }
}

/** A second name first, so that a new file under that name is never overwritten. */
async function moveNew (from: string, to: string): Promise<void> {
  try {
    await link(from, to)
  } catch (error) {
    if (hasCode(error, 'EXDEV')) return await copyFile(from, to, constants.COPYFILE_EXCL)
    if (!hasCode(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK', 'ENOSYS')) throw error
    await rename(from, to)
  }
}

/** Files of equal content: the same whole SHA-256, whatever their names and types. */
export interface DuplicateGroup {
  readonly sha256: string
  /** The one that is kept, then the others. */
  readonly files: readonly ModelFile[]
}

/** Keeps the file with most of people's words, of equal ones the one with most other companions, then the oldest. */
export function duplicatesOf ({ models }: CatalogueState): DuplicateGroup[] {
  const groups = new Map<string, ModelFile[]>()
  for (const file of models.flatMap(model => model.files)) {
    if (file.sha256 === null) continue
    const group = groups.get(file.sha256)
    if (group === undefined) groups.set(file.sha256, [file])
    else group.push(file)
  }
  return [...groups].filter(([, files]) => files.length > 1).map(([sha256, files]) => ({
    sha256,
    files: files.toSorted((one, other) => written(other) - written(one) || writtenFacts(other) - writtenFacts(one) ||
      one.createdAt - other.createdAt || one.absolutePath.localeCompare(other.absolutePath))
  }))
}

/** Number of surplus copies. */
export function spareFiles (groups: readonly DuplicateGroup[]): number {
  return groups.reduce((sum, { files }) => sum + files.length - 1, 0)
}

/** Amount of a person's words about it. */
function written ({ facts: { person = noFacts } }: ModelFile): number {
  return Object.values(person).filter(value => value !== null && !(Array.isArray(value) && value.length === 0)).length
}

/** Amount of other facts about it. */
function writtenFacts ({ facts, previews }: ModelFile): number {
  return Object.keys(facts).filter(source => source === 'civitai').length + (previews.length > 0 ? 1 : 0)
}

export interface DuplicateRemover {
  readonly store: ModelFileStore
  readonly hasher: Hasher
  readonly locks: FolderLocks
}

/**
 * Deletes all files of a group but the first, after copying people's words beside them to the first. Hashes each file,
 * and the one that is kept, right before: the last scan is not proof enough to delete something.
 */
export async function removeDuplicates (
  { sha256, files }: DuplicateGroup, remover: DuplicateRemover
): Promise<Deletion> {
  const { hasher } = remover
  /** Null for a file that cannot be read. */
  async function hashOf ({ absolutePath }: ModelFile): Promise<string | null> {
    const hashes = await hasher.hash(absolutePath, new AbortController().signal).catch(() => null)
    return hashes?.sha256 ?? null
  }

  const [kept, ...others] = files
  if (kept === undefined || await hashOf(kept) !== sha256) {
    return { deleted: [], problems: [`${kept?.path ?? sha256} is not what it was; nothing of its group was deleted`] }
  }
  const outcomes: Deletion[] = []
  for (const file of others) {
    outcomes.push(await hashOf(file) === sha256
      ? await deleteSpare(file, kept, remover)
      : { deleted: [], problems: [`${file.path} is not what it was and was left alone`] })
  }
  return {
    deleted: outcomes.flatMap(({ deleted }) => deleted), problems: outcomes.flatMap(({ problems }) => problems)
  }
}

/** Deletes a file with an equal one that stays, after people's words beside it are copied. */
export async function deleteSpare (
  file: ModelFile, kept: ModelFile, { store, locks }: Pick<DuplicateRemover, 'store' | 'locks'>
): Promise<Deletion> {
  return await locks.take([file, kept].map(({ absolutePath }) => dirname(absolutePath)), async () => {
    const problem = await whyNot(kept)
    if (problem !== null) return { deleted: [], problems: [`${file.path} was left alone, since of ${kept.path}: ${problem}`] }
    try {
      if (await whyNot(file) === null) await takeOver(kept, file)
    } catch (error) {
      return {
        deleted: [],
        problems: [`${file.path} was left alone, since not all beside it could be taken over: ${messageOf(error)}`]
      }
    }
    const deletion = await deleteFile(file, store)
    await store.write([await inspectAgain(kept)])
    return deletion
  })
}
