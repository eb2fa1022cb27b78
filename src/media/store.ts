import { chmod, mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { ServiceError } from '../lib/errors.ts'
import type { MediaReference } from '../lib/media-types.ts'
import { type DraftFile, type FileSink, storing } from './file-sink.ts'
import { createFolderFiles, type MediaFiles } from './files.ts'
import { type ImageExtension, imageFormats } from './image-header.ts'
import { createOutputFiles, createThumbnails, type OutputFiles, type Thumbnails } from './output-files.ts'
import { createOutputForms, type OutputForms } from './output-forms.ts'
import { inputName, isInputName } from './output-formats.ts'

/** Bytes hashed and written at a time. */
const pieceBytes = 1 << 20

/** The result of checking a complete input. */
export interface KeptInput {
  readonly extension: ImageExtension
  /** Stored instead of the received bytes. */
  readonly bytes?: Buffer
}

type InputSink = FileSink<MediaReference>

/** The inputs of a media store. */
interface InputFiles {
  /** Stores an input, once for the same content. @throws ServiceError `storage_full` */
  putInput (bytes: Buffer, extension: ImageExtension): Promise<MediaReference>
  /** The same for an input that is still arriving; `check` decides at its end whether and how it is stored. */
  createInputSink (check: (draft: DraftFile) => Promise<KeptInput>): Promise<InputSink>
  /** @throws ServiceError `image_not_found` */
  readInput (reference: MediaReference): Promise<Buffer>
  /**
   * Removes inputs. Several jobs can share one: the client counts the references. An input that was stored at or after
   * `storedBefore` (milliseconds since the epoch), or stored once more, stays for a job that is being created.
   */
  removeInputs (references: readonly MediaReference[], storedBefore?: number): Promise<void>
  /** Inputs that were last stored before then; for finding those without a job. */
  listInputs (storedBefore: number): AsyncIterable<MediaReference>
  /** Removes drafts of dead processes, an hour old or older. */
  removeInputDrafts (): Promise<void>
}

/** Input images, each named by its content, so that the same image is stored once. */
function createInputFiles (files: MediaFiles): InputFiles {
  /** In subfolders by the first two digits. */
  function placeOf ({ $media: name }: MediaReference): string {
    if (!isInputName(name)) throw new ServiceError('image_not_found', 'There is no such input image.')
    return `${name.slice(0, 2)}/${name}`
  }

  async function place (draft: DraftFile, extension: ImageExtension): Promise<MediaReference> {
    const reference = { $media: inputName(draft.sha256, extension) }
    await files.keep(placeOf(reference), draft, mimeOf(extension))
    return reference
  }

  const createInputSink: InputFiles['createInputSink'] = async check =>
    await files.createSink(async draft => {
      const { extension, bytes } = await check(draft)
      return bytes === undefined ? await place(draft, extension) : await putInput(bytes, extension)
    })

  async function putInput (bytes: Buffer, extension: ImageExtension): Promise<MediaReference> {
    const sink = await createInputSink(async () => ({ extension }))
    try {
      for (let start = 0; start < bytes.length; start += pieceBytes) {
        await sink.write(bytes.subarray(start, start + pieceBytes))
      }
      await sink.end()
    } catch (error) {
      await sink.abort()
      throw error
    }
    return await sink.finished
  }

  return {
    createInputSink,
    putInput,
    async readInput (reference) {
      const bytes = await files.read(placeOf(reference))
      if (bytes !== null) return bytes
      throw new ServiceError('image_not_found', 'An input image of this job no longer exists; submit the job again.')
    },
    async removeInputs (references, storedBefore) {
      await Promise.all(references.map(async reference => { await files.remove(placeOf(reference), storedBefore) }))
    },
    async * listInputs (storedBefore) {
      for await (const place of files.list(storedBefore)) {
        const name = place.slice(place.indexOf('/') + 1)
        if (isInputName(name)) yield { $media: name }
      }
    },
    removeInputDrafts: files.removeDrafts
  }
}

function mimeOf (extension: ImageExtension): string {
  return Object.values(imageFormats).find(format => format.extension === extension)?.mime ?? 'application/octet-stream'
}

export type { OpenFile as OpenOutput } from './files.ts'
export type { OutputSink } from './output-files.ts'

/** The store of image bytes. All code that reads or writes an image uses it. */
export interface MediaStore extends InputFiles, OutputFiles, Pick<Thumbnails, 'openThumbnail'>, Pick<OutputForms, 'openForm'> {}

/** The folders of a media store below its own. */
export function mediaFolders (directory: string) {
  return {
    inputs: join(directory, 'media', 'inputs'), outputs: join(directory, 'outputs'), thumbnails: join(directory, 'thumbnails')
  }
}

/** Where files are within a folder or bucket. */
export type MediaFolder = keyof ReturnType<typeof mediaFolders>

/**
 * A media store in a folder: inputs under `media/inputs/<first 2 of hash>/`, outputs under `outputs/`, their thumbnails
 * and other forms under `thumbnails/`. Each may be a mount of its own. With a bucket, the folders hold only drafts.
 */
export async function createMediaStore (
  { directory, filesIn = createFolderFiles }: {
    readonly directory: string
    /** Files of another place, with their drafts in this folder. */
    readonly filesIn?: (folder: string, name: MediaFolder) => Promise<MediaFiles>
  }
): Promise<MediaStore> {
  const folders = mediaFolders(directory)
  await Promise.all(Object.values(folders).map(async folder => {
    await mkdir(folder, { recursive: true, mode: 0o750 })
    await closeToOthers(folder)
  }))
  await Promise.all([directory, join(directory, 'media')].map(closeToOthers))
  const [inputFiles, outputFiles, thumbnailFiles] = await Promise.all([
    filesIn(folders.inputs, 'inputs'), filesIn(folders.outputs, 'outputs'), filesIn(folders.thumbnails, 'thumbnails')
  ])
  const outputs = createOutputFiles(outputFiles)
  const { openThumbnail, removeThumbnail } = createThumbnails(thumbnailFiles, outputs)
  const { openForm, removeForms } = createOutputForms(thumbnailFiles, outputs)
  return {
    ...createInputFiles(inputFiles),
    ...outputs,
    openThumbnail,
    openForm,
    async removeOutput (name) {
      await outputs.removeOutput(name)
      await removeThumbnail(name)
      await removeForms(name)
    }
  }
}

/** Folders of earlier versions were open to all users of the machine. The rights of the group stay. */
async function closeToOthers (folder: string): Promise<void> {
  const { mode } = await stat(folder)
  // Not its owner, or a file system without modes: the operator's choice.
  if ((mode & 0o007) !== 0) await chmod(folder, mode & 0o770).catch(() => {})
}

/** All bytes of an output, for inspection. @throws ServiceError `image_not_found`, `storage_full` */
export async function wholeOutput (media: Pick<MediaStore, 'openOutput'>, name: string): Promise<Buffer> {
  return await storing(async () => await buffer(await (await media.openOutput(name)).stream()))
}
