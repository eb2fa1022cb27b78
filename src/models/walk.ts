import type { Dirent, Stats } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { withForwardSlashes } from '../a1111/names.ts'
import { isInside, realPathOf, type ModelFolder } from './folders.ts'
import type { ModelType } from './model.ts'
import { isLycorisPath, typeOfFolder } from './places.ts'

/** A model file as a walk through the folders meets it. */
export interface FoundFile {
  readonly absolutePath: string
  /** Real path of the configured folder. */
  readonly root: string
  /** Within the folder of its type, with forward slashes. */
  readonly path: string
  /** Null where no folder tells. */
  readonly type: ModelType | null
  readonly lycoris: boolean
  readonly stats: Stats
  /** Names of all files in the folder where it really lies. */
  readonly neighbours: readonly string[]
}

export interface WalkReport {
  /** Called for what had to be passed over, with the reason. */
  readonly onSkipped: (path: string, reason: string) => void
  /** Called for a configured folder, or one below it, that cannot be read: what was known of it stays. */
  readonly onUnreadable: (path: string) => void
}

export const modelEnding = /\.(safetensors|sft|ckpt|pt|pth|bin|gguf)$/i
/** Folders of repositories and of deleted files are nobody's models. */
const passedOver = /^(\.|__|\$RECYCLE\.BIN$|lost\+found$)/i

/**
 * Every model file in the folders, each once, also where it is reached through several of them or through links. A
 * link that leads out of all folders is passed over.
 */
export async function * walkModels (
  folders: readonly ModelFolder[], report: WalkReport, signal: AbortSignal
): AsyncGenerator<FoundFile> {
  const roots: Array<ModelFolder & { readonly real: string }> = []
  for (const folder of folders) {
    const real = await realPathOf(folder.path)
    if (real === null) report.onUnreadable(folder.path)
    else roots.push({ ...folder, real })
  }
  const seenFolders = new Set<string>()
  const seenFiles = new Set<string>()

  async function entriesOf (folder: string): Promise<Dirent[]> {
    try {
      return (await readdir(folder, { withFileTypes: true })).sort((one, other) => one.name < other.name ? -1 : 1)
    } catch {
      report.onUnreadable(folder)
      return []
    }
  }

  /** @param top real path of the folder from which on paths are told */
  async function * walk (
    folder: string, root: typeof roots[number], type: ModelType | null, top: string
  ): AsyncGenerator<FoundFile> {
    if (seenFolders.has(`${folder}:${type}`) || signal.aborted) return
    seenFolders.add(`${folder}:${type}`)
    const entries = await entriesOf(folder)
    const neighbours = entries.map(({ name }) => name)
    for (const entry of entries) {
      if (passedOver.test(entry.name)) continue
      const path = join(folder, entry.name)
      const real = entry.isSymbolicLink() ? await realPathOf(path) : path
      if (real === null || !roots.some(({ real: other }) => isInside(real, other) || real === other)) {
        report.onSkipped(path, 'the link leads out of the model folders')
        continue
      }
      const stats = entry.isFile() || entry.isSymbolicLink() ? await stat(real).catch(() => null) : null
      if (entry.isDirectory() || stats?.isDirectory()) {
        const named = root.type === null && type === null ? typeOfFolder(entry.name) ?? null : null
        yield * walk(real, root, type ?? named, named === null ? top : real)
      } else if (stats?.isFile() && modelEnding.test(entry.name)) {
        const inode = `${stats.dev}:${stats.ino}`
        if (seenFiles.has(inode)) continue
        seenFiles.add(inode)
        yield {
          absolutePath: real,
          root: roots.find(({ real: other }) => isInside(real, other))?.real ?? root.real,
          path: withForwardSlashes(isInside(path, top) ? relative(top, path) : entry.name),
          type,
          lycoris: type === 'lora' && (isLycorisPath(real) || /lycoris/i.test(basename(root.real))),
          stats,
          // what is beside a link is about it as little as the link's own name
          neighbours: real === path ? neighbours : (await entriesOf(dirname(real))).map(({ name }) => name)
        }
      }
    }
  }

  for (const root of roots) yield * walk(root.real, root, root.type, root.real)
}
