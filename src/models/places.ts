import { withForwardSlashes, withoutEnding } from '../a1111/names.ts'
import type { ModelType } from './model.ts'

/** Folders of A1111, Forge and ComfyUI, in lower case, and what lies in them. */
const typeFolders: Readonly<Record<string, ModelType>> = {
  'stable-diffusion': 'checkpoint',
  checkpoints: 'checkpoint',
  lora: 'lora',
  loras: 'lora',
  lycoris: 'lora',
  vae: 'vae',
  'vae-approx': 'other',
  embeddings: 'embedding',
  esrgan: 'upscaler',
  realesrgan: 'upscaler',
  swinir: 'upscaler',
  dat: 'upscaler',
  hat: 'upscaler',
  scunet: 'upscaler',
  upscale_models: 'upscaler',
  controlnet: 'controlnet'
}

/** What a folder of this name holds by custom; undefined for any other. */
export function typeOfFolder (name: string): ModelType | undefined {
  const folder = name.toLowerCase()
  return Object.hasOwn(typeFolders, folder) ? typeFolders[folder] : undefined
}

/** A path reduced to what tells it from others of its type: forward slashes, lower case, no file ending. */
export function placeOf (path: string): string {
  return exactPlaceOf(path).toLowerCase()
}

/** The same in its own case, by which names are told apart that differ in nothing else. */
export function exactPlaceOf (path: string): string {
  return withoutEnding(withForwardSlashes(path.trim())).replace(/^\.?\//, '').normalize('NFC')
}

/** The part of an absolute path behind the last folder that holds this type; the whole path without such a folder. */
export function pathWithinType (absolutePath: string, type: ModelType): string | null {
  const parts = withForwardSlashes(absolutePath).split('/')
  const at = parts.findLastIndex((part, index) => index < parts.length - 1 && typeOfFolder(part) === type)
  return at < 0 ? null : parts.slice(at + 1).join('/')
}

/** Whether a path runs through a LyCORIS folder. */
export function isLycorisPath (path: string): boolean {
  return /(^|[\\/])lycoris[\\/]/i.test(path)
}

/** Where a file lies within the folder of its type, by the folder as clients name it: empty or `/` at the top. */
export function pathIn (folder: string, filename: string): string {
  const inner = withForwardSlashes(folder).split('/').filter(part => part !== '').join('/')
  return inner === '' ? filename : `${inner}/${filename}`
}
