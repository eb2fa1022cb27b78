import { readdir, stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { ServiceError } from '../errors.ts'
import { folderNames } from './companions.ts'
import { inspectFile } from './inspect.ts'
import type { ModelFile } from './model.ts'

/**
 * The file as it is now; its hash stays where its content did. To be written down in the turn of its folder.
 * @throws ServiceError `model_not_on_disk` for a file that went away since the last scan
 */
export async function inspectAgain (file: ModelFile): Promise<ModelFile> {
  try {
    const neighbours = await readdir(dirname(file.absolutePath))
    const found = { ...file, stats: await stat(file.absolutePath), neighbours }
    return await inspectFile(found, folderNames(neighbours), { ...file, companions: '' })
  } catch (error) {
    throw new ServiceError('model_not_on_disk',
      `${basename(file.absolutePath)} is not where the last scan found it; scan again.`, { field: 'id' }, { cause: error })
  }
}
