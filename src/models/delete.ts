import { lstat, readdir, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { messageOf } from '../errors.ts'
import { folderNames } from './companions.ts'
import type { ModelFileStore } from './file-store.ts'
import { isInside, realPathOf } from './folders.ts'
import type { ModelFile } from './model.ts'

/** What a deletion did; names of files, without folders. */
export interface Deletion {
  readonly deleted: ReadonlyArray<{ readonly type: 'model' | 'preview' | 'sidecar', readonly name: string }>
  readonly problems: readonly string[]
}

/**
 * Deletes a model file and those of its sidecars and previews that are no other model's as well. A file that is not the
 * one of the last scan any more is left alone. To be called in the folder's turn.
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

/** Why a file may not be deleted; null where it may. */
export async function whyNot ({ absolutePath, root, inode, size, modifiedAt }: ModelFile): Promise<string | null> {
  const real = await realPathOf(absolutePath)
  if (real === null) return 'it no longer exists'
  if (real !== absolutePath || !isInside(real, root)) return 'it has moved'
  const stats = await lstat(real)
  const same = stats.isFile() && `${stats.dev}:${stats.ino}` === inode && stats.size === size && stats.mtimeMs === modifiedAt
  return same ? null : 'it changed after the last scan'
}
