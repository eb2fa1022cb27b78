import { lstat, readdir, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { messageOf } from '../errors.ts'
import { companionsOf, stemOf } from './companions.ts'
import type { ModelFileStore } from './file-store.ts'
import { isInside, realPathOf } from './folders.ts'
import type { ModelFile } from './model.ts'
import { modelEnding } from './walk.ts'

/** What a deletion did; names of files, without folders. */
export interface Deletion {
  readonly deleted: ReadonlyArray<{ readonly type: 'model' | 'preview' | 'sidecar', readonly name: string }>
  readonly problems: readonly string[]
}

/**
 * Deletes a model file and, unless another model shares their stem, its sidecars and previews. A file that is not the
 * one of the last scan any more is left alone.
 */
export async function deleteFile (file: ModelFile, files: ModelFileStore): Promise<Deletion> {
  const folder = dirname(file.absolutePath)
  const name = basename(file.absolutePath)
  const problem = await whyNot(file)
  if (problem !== null) return { deleted: [], problems: [`${name} was left alone: ${problem}`] }
  const neighbours = await readdir(folder)
  const shared = neighbours.some(other => other !== name && modelEnding.test(other) && stemOf(other) === stemOf(name))
  const { sidecars, previews } = companionsOf(name, new Map(neighbours.map(other => [other.toLowerCase(), other])))
  const targets = [
    { type: 'model' as const, name },
    ...shared ? [] : sidecars.map(sidecar => ({ type: 'sidecar' as const, name: sidecar })),
    ...shared ? [] : previews.map(preview => ({ type: 'preview' as const, name: preview }))
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

/** Why a file may not be deleted; null where it may. */
async function whyNot ({ absolutePath, root, inode, size, modifiedAt }: ModelFile): Promise<string | null> {
  const real = await realPathOf(absolutePath)
  if (real === null) return 'it is gone already'
  if (real !== absolutePath || !isInside(real, root)) return 'it lies elsewhere now'
  const stats = await lstat(real)
  const same = stats.isFile() && `${stats.dev}:${stats.ino}` === inode && stats.size === size && stats.mtimeMs === modifiedAt
  return same ? null : 'it changed after the last scan'
}
