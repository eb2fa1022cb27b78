import { constants } from 'node:fs'
import { copyFile, link, readdir, readFile, rename } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { textOf, type JsonObject } from '../a1111/json-values.ts'
import { hasCode } from '../media/file-sink.ts'
import { combinedMembers } from './combine-words.ts'
import { folderNames, previewEndings, sidecarEndings, stemOf, type FolderNames } from './companions.ts'
import { writtenMembers, type MemberChanges, type WrittenJson } from './json-members.ts'
import type { ModelFile } from './model.ts'
import { draftSidecar, readSidecar, UnreadableSidecar, type SidecarDraft } from './sidecar-file.ts'
import { isCivitaiField, oursIn, writtenForForge, type Sidecar } from './sidecars.ts'

/** Members that name the file that a sidecar of LoRA Manager lies beside, or are measured there. */
const aboutTheFile = new Set(['file_name', 'file_path', 'size', 'modified', 'sha256', 'preview_url'])

/**
 * Writes what persons wrote beside a file, which is about to go, beside an equal one that stays, and lays its previews
 * there. To be called in the turn of both folders. Done again after a crash in between, it adds nothing twice.
 * @throws Error where anything cannot be taken over: then nothing was lost, and the file must not go
 */
export async function takeOver (kept: ModelFile, other: ModelFile): Promise<void> {
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

  /** Members that come over as they are, written as they were: a number would lose digits on the way. */
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
    // what Civitai said is the same for equal files, and can be asked for again
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

/** @throws UnreadableSidecar: nobody knows whose words are in there */
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

/** @throws Error for a picture that has no place beside the file that stays */
async function layPreviews (
  kept: ModelFile, keptNames: FolderNames, other: ModelFile, otherNames: FolderNames
): Promise<void> {
  const [folder, from] = [dirname(kept.absolutePath), dirname(other.absolutePath)]
  const filename = basename(kept.absolutePath)
  const present = keptNames.companionsOf(filename).previews.map(({ name }) => name)
  const known = await Promise.all(present.map(async name => await readFile(join(folder, name))))
  for (const { name, ending } of otherNames.companionsOf(basename(other.absolutePath)).previews) {
    if (folder === from && present.includes(name)) continue
    const picture = await readFile(join(from, name))
    if (known.some(bytes => bytes.equals(picture))) continue
    // its own ending first, then others of the same format
    const format = ending.slice(ending.lastIndexOf('.'))
    const targets = [ending, ...previewEndings.filter(one => one.endsWith(format))].map(one => `${stemOf(filename)}${one}`)
    const target = targets.find(one => !present.includes(one) && keptNames.ownersOf(one).includes(filename))
    if (target === undefined) throw new Error(`its picture ${name} is another than that of ${filename}`)
    await moveNew(join(from, name), join(folder, target))
    present.push(target)
    known.push(picture)
  }
}

/** A second name first, so that nothing that has come there meanwhile is written over. */
async function moveNew (from: string, to: string): Promise<void> {
  try {
    await link(from, to)
  } catch (error) {
    if (hasCode(error, 'EXDEV')) return await copyFile(from, to, constants.COPYFILE_EXCL)
    if (!hasCode(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK', 'ENOSYS')) throw error
    await rename(from, to)
  }
}
