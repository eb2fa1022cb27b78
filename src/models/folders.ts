import { createHash, randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open, realpath } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { withForwardSlashes, withoutEnding } from '../a1111/names.ts'
import type { Config } from '../config/settings.ts'
import type { Keys } from '../lib/keys.ts'
import type { ModelType } from '../model-facts/facts.ts'
import { loadScript } from '../redis/scripts.ts'

/** A folder of the settings. */
export interface ModelFolder {
  readonly path: string
  /** Its type; null if the names of its subfolders are the types. */
  readonly type: ModelType | null
}

/** The folders of the settings; an exact type comes before a folder for all of them. */
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

/** The same with links followed; null for a missing path. */
export async function realPathOf (path: string): Promise<string | null> {
  return await realpath(path).catch(() => null)
}

/**
 * Opens a plain file beside a model. Checks its real path at the time of use, since links can change between scan and
 * use.
 * @param root real path of the configured folder
 * @returns null if no such file is inside the folder
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

/** Serialises changes of files beside models in a folder, over all processes of the service. */
export interface FolderLocks {
  /**
   * Does the work while it holds these folders.
   * @throws Error if others do not finish
   */
  take<Outcome> (folders: readonly string[], work: () => Promise<Outcome>): Promise<Outcome>
}

/** How long a dead process blocks others; renewed while work goes on. In milliseconds. */
const lifetimeMs = 10_000
const renewalMs = 2500
/** Interval of checks for another process's end, in milliseconds. */
const pauseMs = 15
const patienceMs = 60_000

const renewTurn = loadScript<[turn: string], [token: string, lifetimeMs: number], number | null>(
  new URL('scripts/renew-turn.lua', import.meta.url))
const release = loadScript<[turn: string], [token: string], number | null>(
  new URL('scripts/end-turn.lua', import.meta.url))

export function createFolderLocks (redis: Redis, keys: Keys): FolderLocks {
  /** The last of this process's waiting tasks, by folder: it asks Redis for one at a time. */
  const lines = new Map<string, Promise<unknown>>()

  async function alone<Outcome> (folder: string, work: () => Promise<Outcome>): Promise<Outcome> {
    const key = keys.key('model-folder-turn', createHash('sha1').update(folder).digest('hex'))
    const token = randomUUID()
    const until = performance.now() + patienceMs
    while (await redis.set(key, token, 'PX', lifetimeMs, 'NX') !== 'OK') {
      if (performance.now() > until) throw new Error('another process keeps writing in the folder')
      await delay(pauseMs)
    }
    const renewal = setInterval(() => {
      // lost to another process: each write checks right before that the file has not changed since it was read
      renewTurn(redis, [key], [token, lifetimeMs]).catch(() => {})
    }, renewalMs)
    try {
      return await work()
    } finally {
      clearInterval(renewal)
      // it expires by itself
      await release(redis, [key], [token]).catch(() => {})
    }
  }

  async function inLine<Outcome> (folder: string, work: () => Promise<Outcome>): Promise<Outcome> {
    const before = lines.get(folder) ?? Promise.resolve()
    const outcome = before.then(async () => await alone(folder, work))
    const ended = outcome.catch(() => {})
    lines.set(folder, ended)
    try {
      return await outcome
    } finally {
      if (lines.get(folder) === ended) lines.delete(folder)
    }
  }

  return {
    async take (folders, work) {
      // in one order everywhere, so that no two wait for each other
      const sorted = [...new Set(folders)].sort()
      const nested = sorted.reduceRight((next, folder) => async () => await inLine(folder, next), work)
      return await nested()
    }
  }
}

/** Folders of A1111, Forge and ComfyUI, in lower case, and their types. */
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

/** The customary type of a folder of this name; undefined for any other. */
export function typeOfFolder (name: string): ModelType | undefined {
  const folder = name.toLowerCase()
  return Object.hasOwn(typeFolders, folder) ? typeFolders[folder] : undefined
}

/**
 * A path reduced to the part that distinguishes it from others of its type: forward slashes, lower case, no extension.
 */
export function placeOf (path: string): string {
  return exactPlaceOf(path).toLowerCase()
}

/** The same in its own case, for names that differ only in case. */
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

/** Location of a file within the folder of its type; clients write the top as empty or `/`. */
export function pathIn (folder: string, filename: string): string {
  const inner = withForwardSlashes(folder).split('/').filter(part => part !== '').join('/')
  return inner === '' ? filename : `${inner}/${filename}`
}
