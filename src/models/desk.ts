import { readdir, stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { messageOf, ServiceError } from '../errors.ts'
import type { Catalogue } from './catalogue.ts'
import { deleteFile, type Deletion } from './delete.ts'
import { duplicatesOf, removeDuplicates, type DuplicateGroup } from './duplicates.ts'
import type { ModelFileStore } from './file-store.ts'
import type { ModelFolder } from './folders.ts'
import type { FileHashes } from './hash-thread.ts'
import type { Hasher } from './hasher.ts'
import { inspectFile } from './inspect.ts'
import type { Model, ModelFile } from './model.ts'
import { writeOwnerField, type OwnerField } from './owner-fields.ts'

/** What callers do with single models. Each throws ServiceError for a model without a file on this machine. */
export interface ModelDesk {
  readonly folders: readonly ModelFolder[]
  /** Computes the hashes of a model's first file now, whatever is known of them. */
  calculateHash (model: Model, signal: AbortSignal): Promise<FileHashes>
  /** Reads header, sidecars and previews of all files of a model anew; the model as it is then. */
  rescan (model: Model): Promise<Model>
  /** Writes down what its owner says of the model, beside each of its files. @throws also `model_not_writable` */
  setField (model: Model, field: OwnerField, value: unknown): Promise<Model>
  /** Forgets what scans found and Civitai said, files beside models excepted; how many files it was. */
  forgetAll (): Promise<number>
  /** Deletes one of a model's files, its first unless a path within its folder says which. */
  deleteFromDisk (model: Model, path?: string): Promise<Deletion>
  duplicates (): Promise<DuplicateGroup[]>
  /** Deletes all but one file of each group with one of these hashes. */
  removeDuplicates (hashes: readonly string[]): Promise<Deletion>
}

export interface ModelDeskDependencies {
  readonly catalogue: Catalogue
  readonly files: ModelFileStore
  readonly hasher: Hasher
  readonly folders: readonly ModelFolder[]
}

export function createModelDesk ({ catalogue, files, hasher, folders }: ModelDeskDependencies): ModelDesk {
  return {
    folders,
    async calculateHash (model, signal) {
      const file = fileOf(model)
      const fresh = await inspectAgain(file)
      const hashes = await hasher.hash(file.absolutePath, signal)
      await files.write([{
        ...fresh, sha256: hashes.sha256, autoV3: file.type === 'lora' ? hashes.autoV3 : null, modifiedAt: hashes.modifiedAt
      }])
      return hashes
    },
    async rescan (model) {
      fileOf(model)
      await files.write(await Promise.all(model.files.map(inspectAgain)))
      return await catalogue.require(String(model.id))
    },
    async setField (model, field, value) {
      fileOf(model)
      for (const file of model.files) await writeOwnerField(file, field, value).catch(unlessRefused)
      await files.write(await Promise.all(model.files.map(inspectAgain)))
      return await catalogue.require(String(model.id))
    },
    forgetAll: files.clear,
    async deleteFromDisk (model, path) {
      const file = path === undefined ? fileOf(model) : model.files.find(known => known.path === path)
      if (file === undefined) {
        throw new ServiceError('model_not_on_disk', `No model folder of this machine has ${path}.`, { field: 'path' })
      }
      return await deleteFile(file, files)
    },
    duplicates: async () => duplicatesOf(await catalogue.state()),
    async removeDuplicates (hashes) {
      const groups = duplicatesOf(await catalogue.state()).filter(({ sha256 }) => hashes.includes(sha256))
      const outcomes: Deletion[] = []
      for (const group of groups) outcomes.push(await removeDuplicates(group, { store: files, hasher }))
      return {
        deleted: outcomes.flatMap(({ deleted }) => deleted), problems: outcomes.flatMap(({ problems }) => problems)
      }
    }
  }
}

/** Folders may be for reading only, and a sidecar may be no JSON, which is then somebody's and stays. */
function unlessRefused (error: unknown): never {
  if (error instanceof ServiceError && error.code === 'invalid_field_value') throw error
  throw new ServiceError('model_not_writable', `Nothing can be written beside the model: ${messageOf(error)}.`, {},
    { cause: error })
}

/** @throws ServiceError `model_not_on_disk` */
export function fileOf (model: Model): ModelFile {
  const [file] = model.files
  if (file !== undefined) return file
  throw new ServiceError('model_not_on_disk',
    `No model folder of this machine has ${model.filename}; only servers have it.`, { field: 'id' })
}

/** @throws ServiceError `model_not_on_disk` for a file that went away since the last scan */
export async function inspectAgain (file: ModelFile): Promise<ModelFile> {
  try {
    const neighbours = await readdir(dirname(file.absolutePath))
    const found = { ...file, stats: await stat(file.absolutePath), neighbours }
    return await inspectFile(found, new Map(neighbours.map(name => [name.toLowerCase(), name])),
      { ...file, companions: '' })
  } catch (error) {
    throw new ServiceError('model_not_on_disk',
      `${basename(file.absolutePath)} is not where the last scan found it; scan again.`, { field: 'id' }, { cause: error })
  }
}
