import { dirname } from 'node:path'
import { messageOf } from '../errors.ts'
import { deleteFile, whyNot, type Deletion } from './delete.ts'
import type { CatalogueState } from './catalogue.ts'
import { noFacts } from './facts.ts'
import type { FolderTurns } from './folder-turns.ts'
import { inspectAgain } from './inspect-again.ts'
import type { ModelFileStore } from './file-store.ts'
import type { Hasher } from './hasher.ts'
import type { ModelFile } from './model.ts'
import { takeOver } from './take-over.ts'

/** Files of equal content: the same whole SHA-256, whatever their names and types. */
export interface DuplicateGroup {
  readonly sha256: string
  /** The one that is kept, then the others. */
  readonly files: readonly ModelFile[]
}

/** The one that persons wrote most about is kept, of equal ones that with most besides, then the oldest. */
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
    files: files.toSorted((one, other) => written(other) - written(one) || told(other) - told(one) ||
      one.createdAt - other.createdAt || one.absolutePath.localeCompare(other.absolutePath))
  }))
}

/** Files that are there once more than needed. */
export function spareFiles (groups: readonly DuplicateGroup[]): number {
  return groups.reduce((sum, { files }) => sum + files.length - 1, 0)
}

/** How much a person said of it. */
function written ({ facts: { person = noFacts } }: ModelFile): number {
  return Object.values(person).filter(value => value !== null && !(Array.isArray(value) && value.length === 0)).length
}

/** How much else is there about it. */
function told ({ facts, previews }: ModelFile): number {
  return Object.keys(facts).filter(source => source === 'civitai').length + (previews.length > 0 ? 1 : 0)
}

export interface DuplicateRemover {
  readonly store: ModelFileStore
  readonly hasher: Hasher
  readonly turns: FolderTurns
}

/**
 * Deletes all files of a group but the first, once what persons wrote beside them is beside the first. Each is hashed
 * once more right before, as is the one that is kept: what the last scan found is not proof enough to delete something.
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

/** Deletes a file of which an equal one stays, once what persons wrote beside it is there. */
export async function deleteSpare (
  file: ModelFile, kept: ModelFile, { store, turns }: Pick<DuplicateRemover, 'store' | 'turns'>
): Promise<Deletion> {
  return await turns.take([file, kept].map(({ absolutePath }) => dirname(absolutePath)), async () => {
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
