import { chmod, mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { createInputFiles, type InputFiles } from './input-files.ts'
import { createOutputFiles, createThumbnails, type OutputFiles, type Thumbnails } from './output-files.ts'

export type { InputSink } from './input-files.ts'
export type { OpenOutput, OutputSink } from './output-files.ts'

/** The store of image bytes. All code that reads or writes an image uses it. */
export interface MediaStore extends InputFiles, OutputFiles, Pick<Thumbnails, 'openThumbnail'> {}

/** The folders of a media store below its own. */
export function mediaFolders (directory: string) {
  return {
    inputs: join(directory, 'media', 'inputs'), outputs: join(directory, 'outputs'), thumbnails: join(directory, 'thumbnails')
  }
}

/**
 * A media store in a folder: inputs under `media/inputs/<first 2 of hash>/`, outputs under `outputs/`, their thumbnails
 * under `thumbnails/`. Each may be a mount of its own.
 */
export async function createMediaStore ({ directory }: { directory: string }): Promise<MediaStore> {
  const { inputs: inputFolder, outputs: outputFolder, thumbnails: thumbnailFolder } = mediaFolders(directory)
  await Promise.all([inputFolder, outputFolder, thumbnailFolder].map(async folder => {
    await mkdir(folder, { recursive: true, mode: 0o750 })
    await closeToOthers(folder)
  }))
  await Promise.all([directory, join(directory, 'media')].map(closeToOthers))
  const [inputs, outputs] = await Promise.all([createInputFiles(inputFolder), createOutputFiles(outputFolder)])
  const { openThumbnail, removeThumbnail } = await createThumbnails(thumbnailFolder, outputs)
  return {
    ...inputs,
    ...outputs,
    openThumbnail,
    async removeOutput (name) {
      await outputs.removeOutput(name)
      await removeThumbnail(name)
    }
  }
}

/** Folders of earlier versions were open to all users of the machine. The rights of the group stay. */
async function closeToOthers (folder: string): Promise<void> {
  const { mode } = await stat(folder)
  // Not its owner, or a file system without modes: the operator's choice.
  if ((mode & 0o007) !== 0) await chmod(folder, mode & 0o770).catch(() => {})
}

/** All bytes of an output, for inspection. @throws ServiceError `image_not_found` */
export async function wholeOutput (media: Pick<MediaStore, 'openOutput'>, name: string): Promise<Buffer> {
  return await buffer((await media.openOutput(name)).stream())
}
