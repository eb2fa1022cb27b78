import { readdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { findCheckpoint, splitHash } from '../a1111/names.ts'
import { messageOf, ServiceError } from '../lib/errors.ts'
import type { Model, ModelFile } from '../model-facts/facts.ts'
import type { Server, ServerRegistry } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import type { Catalogue } from './catalogue.ts'
import {
  deleteFile, deleteSpare, type Deletion, type DuplicateGroup, duplicatesOf, removeDuplicates
} from './duplicates.ts'
import type { Hasher, ModelFileStore } from './file-store.ts'
import type { FolderLocks, ModelFolder } from './folders.ts'
import type { FileHashes } from './hash-thread.ts'
import { inspectAgain } from './inspect.ts'
import { inventoriesOf } from './servers.ts'
import { notWritable } from './sidecar-file.ts'
import { draftOwnerField, type OwnerField, requireOwnerValue } from './sidecars.ts'
import { folderNames } from './walk.ts'

/** Actions on single models. Each throws ServiceError for a model without a file on this machine. */
export interface ModelService {
  readonly folders: readonly ModelFolder[]
  /** Computes the hashes of a model's first file now, even if they are known. */
  calculateHash (model: Model, signal: AbortSignal): Promise<FileHashes>
  /** Reads header, sidecars and previews of all files of a model again; returns the updated model. */
  rescan (model: Model): Promise<Model>
  /** Writes the owner's values beside each of the model's files. @throws also `model_not_writable` */
  setField (model: Model, field: OwnerField, value: unknown): Promise<Model>
  /** Deletes the records of scans and Civitai, but not files beside models; returns the number of files. */
  forgetAll (): Promise<number>
  /**
   * Deletes one of a model's files: the first, unless a path within its folder names another. If an equal file stays,
   * it gets people's words beside the deleted one.
   */
  deleteFromDisk (model: Model, path?: string): Promise<Deletion>
  duplicates (): Promise<DuplicateGroup[]>
  /** Deletes all but one file of each group with one of these hashes. */
  removeDuplicates (hashes: readonly string[]): Promise<Deletion>
}

export interface ModelServiceDependencies {
  readonly catalogue: Catalogue
  readonly files: ModelFileStore
  readonly hasher: Hasher
  readonly locks: FolderLocks
  readonly folders: readonly ModelFolder[]
}

export function createModelService (dependencies: ModelServiceDependencies): ModelService {
  const { catalogue, files, hasher, locks, folders } = dependencies

  /** Reads the files again and writes the records, while it holds their folders. */
  async function readAgain (known: readonly ModelFile[]): Promise<void> {
    await locks.take(foldersOf(known), async () => { await files.write(await Promise.all(known.map(inspectAgain))) })
  }

  return {
    folders,
    async calculateHash (model, signal) {
      const file = fileOf(model)
      const { inode, companions } = await inspectAgain(file)
      const hashes = await hasher.hash(file.absolutePath, signal)
      const { sha256, size, modifiedAt } = hashes
      const autoV3 = file.type === 'lora' ? hashes.autoV3 : null
      await readAgain([{ ...file, companions, inode, size, modifiedAt, sha256, autoV3 }])
      return hashes
    },
    async rescan (model) {
      fileOf(model)
      await readAgain(model.files)
      return await catalogue.require(String(model.id))
    },
    async setField (model, field, value) {
      requireOwnerValue(field, value)
      const first = fileOf(model)
      await locks.take(foldersOf(model.files), async () => {
        const present = await Promise.all(model.files.map(async file => await inspectAgain(file).catch(() => null)))
        const equal = present.filter(file => file !== null)
          .filter(({ sha256 }) => model.files.length === 1 || sha256 === model.sha256)
        // none is unchanged: the first has the given name
        const meant = equal.length > 0 ? equal : [await inspectAgain(first)]
        const drafts = await Promise.all(meant.map(async file => {
          const names = folderNames(await readdir(dirname(file.absolutePath)))
          return await draftOwnerField(file, names, field, value)
        }))
        for (const draft of drafts.flat()) await draft.write()
        await files.write(await Promise.all(meant.map(inspectAgain)))
      }).catch(notWritable)
      return await catalogue.require(String(model.id))
    },
    forgetAll: files.clear,
    async deleteFromDisk (model, path) {
      const file = path === undefined ? fileOf(model) : model.files.find(known => known.path === path)
      if (file === undefined) {
        throw new ServiceError('model_not_on_disk', `No model folder of this machine has ${path}.`, { field: 'path' })
      }
      const kept = model.files.find(other => other !== file && other.sha256 !== null && other.sha256 === file.sha256)
      if (kept !== undefined) return await deleteSpare(file, kept, { store: files, locks })
      return await locks.take([dirname(file.absolutePath)], async () => await deleteFile(file, files))
    },
    duplicates: async () => duplicatesOf(await catalogue.state()),
    async removeDuplicates (hashes) {
      const groups = duplicatesOf(await catalogue.state()).filter(({ sha256 }) => hashes.includes(sha256))
      const outcomes: Deletion[] = []
      for (const group of groups) outcomes.push(await removeDuplicates(group, { store: files, hasher, locks }))
      return {
        deleted: outcomes.flatMap(({ deleted }) => deleted), problems: outcomes.flatMap(({ problems }) => problems)
      }
    }
  }
}

function foldersOf (files: readonly ModelFile[]): string[] {
  return files.map(({ absolutePath }) => dirname(absolutePath))
}

/** @throws ServiceError `model_not_on_disk` */
export function fileOf (model: Model): ModelFile {
  const [file] = model.files
  if (file !== undefined) return file
  throw new ServiceError('model_not_on_disk',
    `No model folder of this machine has ${model.filename}; only servers have it.`, { field: 'id' })
}

/** One server's match for a checkpoint's name. */
export interface Verdict {
  readonly alias: string
  /** The server's own title, with which a job would be sent; null if it has none. */
  readonly title: string | null
  /** Why there is none, if it is not simply missing. */
  readonly problem: string | null
  /** Titles of all its checkpoints. */
  readonly titles: readonly string[]
}

/**
 * Looks up a name exactly as for a job's checkpoint.
 * @param server the only one to search; all of them if it is left out
 */
export async function verifyCheckpoint (
  name: string, { registry, states }: { registry: ServerRegistry, states: ServerStateStore }, server?: Server
): Promise<Verdict[]> {
  const known = server === undefined
    ? await inventoriesOf(registry, states)
    : [{ server, inventory: await states.inventory(server.id) }]
  return known.map(({ server: { alias }, inventory }) => {
    if (inventory === null) return { alias, title: null, problem: 'The server was not read yet.', titles: [] }
    const titles = inventory.checkpoints.map(({ title }) => title)
    try {
      return { alias, title: findCheckpoint(name, inventory)?.title ?? null, problem: null, titles }
    } catch (error) {
      return { alias, title: null, problem: messageOf(error), titles }
    }
  })
}

/** A path in the servers' spelling: theirs if one has it, else the given one with their slashes. */
export function normalisedPath (given: string, verdicts: readonly Verdict[]): string {
  const own = verdicts.find(({ title }) => title !== null)?.title ?? null
  if (own !== null) return splitHash(own).name
  const usesBackslashes = verdicts.some(({ titles }) => titles.some(title => title.includes('\\')))
  return given.trim().replace(/[\\/]+/g, usesBackslashes ? '\\' : '/')
}
