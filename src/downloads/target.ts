import { withoutLeading, withoutTrailing } from '../lib/text.ts'
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { ServiceError } from '../errors.ts'
import { isInside, realPathOf, type ModelFolder } from '../models/folders.ts'
import type { ModelType } from '../models/model.ts'
import { typeOfFolder } from '../models/places.ts'

const safeEndings = ['.safetensors', '.sft', '.gguf']
const pickleEndings = ['.ckpt', '.pt', '.pth', '.bin']
const longestStem = 120
/** File systems allow 255 bytes, and the names of what lies beside it are longer. */
const longestStemBytes = 200
/** What file systems forbid in a name, or nobody can see there. */
const forbidden = /[<>:"/\\|?*\p{Cc}\p{Cs}\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]+/gu
/** Names that Windows keeps for devices. */
const reserved = /^(con|prn|aux|nul|com\d|lpt\d)$/i

/**
 * A file name that is a plain name on every system, whatever was proposed.
 * @param original name at the source, whose ending counts
 * @throws ServiceError `invalid_field_value` for endings that are no model's or, unless allowed, a pickle's
 */
export function safeFilename (proposed: string, original: string, pickles: 'refused' | 'allowed'): string {
  const ending = (/\.[a-z0-9]+$/i.exec(original)?.[0] ?? '').toLowerCase()
  if (pickleEndings.includes(ending) && pickles === 'refused') {
    throw new ServiceError('invalid_field_value', `${ending} files can run programs when they are loaded, so they are ` +
      'refused; DOWNLOAD_PICKLES=true allows them.', { field: 'filename' })
  }
  if (!safeEndings.includes(ending) && !pickleEndings.includes(ending)) {
    throw new ServiceError('invalid_field_value',
      `A model file ends in ${[...safeEndings, ...pickleEndings].join(', ')}.`, { field: 'filename' })
  }
  const last = proposed.slice(Math.max(proposed.lastIndexOf('/'), proposed.lastIndexOf('\\')) + 1)
  const plain = last.replace(/\.[a-z0-9]+$/i, '').normalize('NFC').replace(forbidden, '_')
  const stem = withoutTrailing(shortened(withoutLeading(plain, '. ')), '. ')
  return `${stem === '' || reserved.test(stem) ? `model-${stem}` : stem}${ending}`
}

function shortened (text: string): string {
  let short = ''
  for (const sign of [...text].slice(0, longestStem)) {
    if (Buffer.byteLength(short + sign) > longestStemBytes) break
    short += sign
  }
  return short
}

export interface Target {
  /** Real path of the folder that the file goes into. */
  readonly folder: string
  /** Real path of the configured folder. */
  readonly root: string
}

/** How A1111 and Forge name the folder of a type. */
const usualFolders: Readonly<Partial<Record<ModelType, string>>> = {
  checkpoint: 'Stable-diffusion', lora: 'Lora', vae: 'VAE', embedding: 'embeddings', upscaler: 'ESRGAN', controlnet: 'ControlNet'
}

/**
 * The folder for a type: one that is only for it, else its folder in one for all.
 * @throws ServiceError `no_model_folders`
 */
export async function targetFor (type: ModelType, folders: readonly ModelFolder[]): Promise<Target> {
  for (const { path } of folders.filter(folder => folder.type === type)) {
    const root = await realPathOf(path)
    if (root !== null) return { folder: root, root }
  }
  const usual = usualFolders[type]
  for (const { path } of folders.filter(folder => folder.type === null)) {
    const root = await realPathOf(path)
    if (root === null || usual === undefined) continue
    const present = (await readdir(root)).find(name => typeOfFolder(name) === type)
    await mkdir(join(root, present ?? usual), { recursive: true })
    const folder = await realPathOf(join(root, present ?? usual))
    if (folder !== null && isInside(folder, root)) return { folder, root }
  }
  throw new ServiceError('no_model_folders',
    `No folder is set that a ${type} could go into; name one in MODELS_DIR or in the setting for its type.`)
}
