import { buffer } from 'node:stream/consumers'
import { ServiceError } from '../lib/errors.ts'
import { isMoving } from '../lib/media-types.ts'
import { encodeForm, exactForm, type ExactForm, type FormFormat, formQualities, type OutputForm, qualities } from './encode-form.ts'
import { storing } from './file-sink.ts'
import { type MediaFiles, noSuchImage, type OpenFile } from './files.ts'
import type { OutputFiles } from './output-files.ts'
import { isOutputName, outputFormats } from './output-formats.ts'

/** Outputs in other formats, created at the first request and then kept. */
export interface OutputForms {
  /**
   * The output itself, if it has the format and no quality is given.
   * @throws ServiceError `image_not_found`; `invalid_field_value` for what cannot be converted; `invalid_image`
   */
  openForm (name: string, form: OutputForm): Promise<OpenFile>
  /** Removes all forms of an output. */
  removeForms (name: string): Promise<void>
}

/** @param files where forms are kept, beside thumbnails */
export function createOutputForms (files: MediaFiles, outputs: Pick<OutputFiles, 'openOutput'>): OutputForms {
  const making = new Map<string, Promise<void>>()
  /** Says that an output has forms, so that removing one without any costs one look. */
  const markOf = (output: string) => `${output}.forms`

  async function make (output: string, form: ExactForm, name: string): Promise<void> {
    const original = await storing(async () => await buffer(await (await outputs.openOutput(output)).stream()))
    const bytes = await encodeForm(original, form)
    await files.putBytes(markOf(output), Buffer.from('1'), 'text/plain')
    await files.putBytes(name, bytes, outputFormats[form.format].mime)
    // The output can have been removed meanwhile, and its forms before this one was written.
    const still = await outputs.openOutput(output).catch(async error => {
      await files.remove(name)
      throw error
    })
    await still.close()
  }

  return {
    async openForm (output, { format, quality }) {
      if (!isOutputName(output)) throw noSuchImage()
      const original = await outputs.openOutput(output)
      if (original.mime === outputFormats[format].mime && quality === undefined) return original
      await original.close()
      if (isMoving(original.mime)) {
        throw invalidFormat(`${output} is a video or an animation; fetch it without format.`)
      }
      const form = exactForm({ format, quality })
      const name = nameOf(output, form)
      const made = await files.open(name)
      if (made !== null) return made
      const work = making.get(name) ??
        make(output, form, name).finally(() => { making.delete(name) })
      making.set(name, work)
      await work
      const fresh = await files.open(name)
      if (fresh === null) throw noSuchImage()
      return fresh
    },
    async removeForms (output) {
      if (!isOutputName(output) || await files.read(markOf(output)) === null) return
      for (const format of Object.keys(formQualities) as FormFormat[]) {
        const each = formQualities[format] === null ? [null] : qualities
        await Promise.all(each.map(async quality => { await files.remove(nameOf(output, { format, quality })) }))
      }
      await files.remove(markOf(output))
    }
  }
}

function nameOf (output: string, { format, quality }: ExactForm): string {
  return `${output}${quality === null ? '' : `.q${quality}`}.${outputFormats[format].extension}.form`
}

function invalidFormat (sentence: string): ServiceError {
  return new ServiceError('invalid_field_value', sentence, { field: 'format' })
}
