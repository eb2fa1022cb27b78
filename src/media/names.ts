import type { ImageExtension } from './image-header.ts'
import type { OutputExtension } from './output-formats.ts'

/** `<first 8 of the job id>_<ISO time with : and . as ->_<index>.<extension>` */
const outputGrammar = /^[0-9a-z]{8}_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z_\d{1,4}\.(?:png|jpg|webp|gif|avif|mp4|webm)$/
const inputGrammar = /^[0-9a-f]{64}\.(?:png|jpg|webp)$/

/**
 * The public name of an output image, which old clients take apart again.
 * @param createdAt milliseconds since the epoch
 * @param index place in the server's answer, from 0
 */
export function outputName (jobId: string, createdAt: number, index: number, extension: OutputExtension): string {
  return `${jobId.slice(0, 8)}_${new Date(createdAt).toISOString().replace(/[:.]/g, '-')}_${index}.${extension}`
}

/** Whether this service could have given an output this name; such a name cannot lead anywhere else. */
export function isOutputName (name: string): boolean {
  return outputGrammar.test(name)
}

export function inputName (sha256: string, extension: ImageExtension): string {
  return `${sha256}.${extension}`
}

/** Whether this is the name of an input; such a name cannot lead anywhere else. */
export function isInputName (name: string): boolean {
  return inputGrammar.test(name)
}
