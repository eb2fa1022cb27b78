import { constants } from 'node:fs'
import { open, realpath, type FileHandle } from 'node:fs/promises'
import { join, sep } from 'node:path'
import type { Config } from '../config/settings.ts'
import type { ModelType } from './model.ts'

/** A folder that the settings name. */
export interface ModelFolder {
  readonly path: string
  /** What lies in it; null where its folders tell by their names. */
  readonly type: ModelType | null
}

/** The folders of the settings; an exact type goes before a folder for all of them. */
export function modelFolders (config: Config): ModelFolder[] {
  const of = (paths: readonly string[], type: ModelType | null) => paths.map(path => ({ path, type }))
  return [
    ...of(config.CHECKPOINT_DIR, 'checkpoint'),
    ...of(config.LORA_DIR, 'lora'),
    ...of(config.VAE_DIR, 'vae'),
    ...of(config.EMBEDDING_DIR, 'embedding'),
    ...of(config.UPSCALER_DIR, 'upscaler'),
    ...of(config.CONTROLNET_DIR, 'controlnet'),
    ...of(config.MODELS_DIR, null)
  ]
}

/** Whether a real path lies in a real folder. */
export function isInside (path: string, folder: string): boolean {
  return path.startsWith(folder.endsWith(sep) ? folder : folder + sep)
}

/** The same with links followed; null for what is not there. */
export async function realPathOf (path: string): Promise<string | null> {
  return await realpath(path).catch(() => null)
}

/**
 * Opens a plain file beside a model. Looks where it really is at the time of use, since links may change between scan
 * and use.
 * @param root real path of the configured folder
 * @returns null where nothing of the folder is there
 */
export async function openInside (root: string, folder: string, name: string): Promise<FileHandle | null> {
  const real = await realPathOf(join(folder, name))
  if (real === null || !isInside(real, root)) return null
  const file = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(() => null)
  if (file === null) return null
  if ((await file.stat()).isFile()) return file
  await file.close()
  return null
}
