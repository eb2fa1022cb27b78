import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createInputFiles, type InputFiles } from './input-files.ts'
import { createOutputFiles, type OutputFiles } from './output-files.ts'

export type { InputSink } from './input-files.ts'
export type { OpenOutput, OutputSink } from './output-files.ts'

/** Where image bytes are kept. Everything that reads or writes an image goes through here. */
export interface MediaStore extends InputFiles, OutputFiles {}

/**
 * A media store in a folder: inputs under `media/inputs/<first 2 of hash>/`, outputs under `outputs/`.
 * Both may be mounts of their own.
 */
export async function createMediaStore ({ directory }: { directory: string }): Promise<MediaStore> {
  const inputFolder = join(directory, 'media', 'inputs')
  const outputFolder = join(directory, 'outputs')
  await Promise.all([mkdir(inputFolder, { recursive: true }), mkdir(outputFolder, { recursive: true })])
  const [inputs, outputs] = await Promise.all([createInputFiles(inputFolder), createOutputFiles(outputFolder)])
  return { ...inputs, ...outputs }
}
