import type { CatalogueState } from './catalogue.ts'
import { deleteFile, type Deletion } from './delete.ts'
import type { ModelFileStore } from './file-store.ts'
import type { Hasher } from './hasher.ts'
import type { ModelFile } from './model.ts'

/** Files of equal content: the same whole SHA-256, whatever their names and types. */
export interface DuplicateGroup {
  readonly sha256: string
  /** The one that is kept, then the others. */
  readonly files: readonly ModelFile[]
}

/** The one with the most written about it is kept, of equal ones the oldest. */
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
    files: files.toSorted((one, other) => told(other) - told(one) || one.createdAt - other.createdAt ||
      one.absolutePath.localeCompare(other.absolutePath))
  }))
}

/** Files that are there once more than needed. */
export function spareFiles (groups: readonly DuplicateGroup[]): number {
  return groups.reduce((sum, { files }) => sum + files.length - 1, 0)
}

function told ({ facts, previews }: ModelFile): number {
  return Object.keys(facts).filter(source => source !== 'embedded').length + (previews.length > 0 ? 1 : 0)
}

/**
 * Deletes all files of a group but the first. Each is hashed once more right before, as is the one that is kept: what
 * the last scan found is not proof enough to delete something.
 */
export async function removeDuplicates (
  { sha256, files }: DuplicateGroup, { store, hasher }: { store: ModelFileStore, hasher: Hasher }
): Promise<Deletion> {
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
      ? await deleteFile(file, store)
      : { deleted: [], problems: [`${file.path} is not what it was and was left alone`] })
  }
  return {
    deleted: outcomes.flatMap(({ deleted }) => deleted), problems: outcomes.flatMap(({ problems }) => problems)
  }
}
