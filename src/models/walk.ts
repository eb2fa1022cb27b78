import type { Dirent, Stats } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { withForwardSlashes } from '../a1111/names.ts'
import type { ModelType } from '../model-facts/facts.ts'
import { isInside, isLycorisPath, type ModelFolder, realPathOf, typeOfFolder } from './folders.ts'

/** A model file found in a walk through the folders. */
export interface FoundFile {
  readonly absolutePath: string
  /** Real path of the configured folder. */
  readonly root: string
  /** Within the folder of its type, with forward slashes. */
  readonly path: string
  /** Null if no folder shows it. */
  readonly type: ModelType | null
  readonly lycoris: boolean
  readonly stats: Stats
  /** Names of all files in the folder where it really lies. */
  readonly neighbours: readonly string[]
}

export interface WalkReport {
  /** Called for each skipped file, with the reason. */
  readonly onSkipped: (path: string, reason: string) => void
  /** Called for a configured folder, or one below it, that cannot be read: its known files stay. */
  readonly onUnreadable: (path: string) => void
}

const modelEnding = /\.(safetensors|sft|ckpt|pt|pth|bin|gguf)$/i
/** Folders of repositories and of deleted files hold no models. */
const passedOver = /^(\.|__|\$RECYCLE\.BIN$|lost\+found$)/i

/**
 * Each model file in the folders once, even if several folders or links reach it. A link that leads out of all folders
 * is skipped.
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

  /** @param top real path of the folder to which paths are relative */
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
          // files beside a link concern it as little as the link's own name
          neighbours: real === path ? neighbours : (await entriesOf(dirname(real))).map(({ name }) => name)
        }
      }
    }
  }

  for (const root of roots) yield * walk(root.real, root, root.type, root.real)
}

/** Files of A1111 and Forge, Civitai Helper, StableQueue and LoRA Manager; the most trusted first. */
export const sidecarEndings = ['.json', '.civitai.info', '.civitai.json', '.metadata.json'] as const
export type SidecarEnding = (typeof sidecarEndings)[number]
const imageEndings = ['png', 'jpg', 'jpeg', 'webp']
export const previewEndings: readonly string[] =
  [...imageEndings.map(ending => `.preview.${ending}`), ...imageEndings.map(ending => `.${ending}`)]
/** A name can end in several of them: the shortest leaves the longest name of a model. */
const allEndings = [...sidecarEndings, ...previewEndings].sort((one, other) => one.length - other.length)

/** A companion of a model: its name and what it is. */
export interface Companion<Ending extends string = string> {
  readonly name: string
  readonly ending: Ending
}

/** The sidecars and previews of a model. */
export interface Companions {
  /** The most trusted first. */
  readonly sidecars: ReadonlyArray<Companion<SidecarEnding>>
  readonly previews: readonly Companion[]
}

/** Content of one folder, and the models that its sidecars and previews belong to. */
export interface FolderNames {
  companionsOf (filename: string): Companions
  /**
   * The models that a sidecar or preview of this name belongs to, whether the file exists or not: by the exact name,
   * the longest first, so that `a.civitai.json` belongs to `a.civitai.safetensors` before `a.safetensors`; in another
   * case only if that leaves no choice. Files that differ only in a model's extension share their companions.
   */
  ownersOf (companion: string): readonly string[]
  /**
   * Where to write a sidecar of this model alone: the existing one, else the usual name, else one with the model's own
   * extension. Null if each of them is another model's.
   */
  sidecarFor (filename: string, ending: SidecarEnding): string | null
}

/** The stem of a model's file name: companions begin with it. */
export function stemOf (filename: string): string {
  return filename.slice(0, filename.lastIndexOf('.'))
}

export function folderNames (names: readonly string[]): FolderNames {
  const present = new Set(names)
  const byLower = groupedBy(names, name => [name.toLowerCase()])
  const models = names.filter(name => modelEnding.test(name))
  const exact = groupedBy(models, name => [name, stemOf(name)])
  const anyCase = groupedBy(models, name => [name.toLowerCase(), stemOf(name).toLowerCase()])

  function ownersOf (companion: string): readonly string[] {
    const lower = companion.toLowerCase()
    const bases = allEndings.filter(ending => lower.endsWith(ending)).map(ending => companion.slice(0, -ending.length))
    for (const base of bases) {
      const owners = exact.get(base)
      if (owners !== undefined) return present.has(base) ? [base] : owners
    }
    for (const base of bases) {
      const owners = anyCase.get(base.toLowerCase())
      if (owners === undefined) continue
      const whole = owners.filter(owner => owner.toLowerCase() === base.toLowerCase())
      const candidates = whole.length > 0 ? whole : owners
      // two models that differ in case only, and a third spelling: the owner is unknown
      return new Set(candidates.map(stemOf)).size === 1 ? candidates : []
    }
    return []
  }

  /** Of two with one stem each has its own under its whole name. */
  function candidatesOf (filename: string, ending: string): string[] {
    const isShared = (exact.get(stemOf(filename)) ?? []).length > 1
    const plain = `${stemOf(filename)}${ending}`
    // `x.safetensors.json` besides `x.json`: some tools keep the model's own extension
    const whole = `${filename}${ending}`
    return isShared ? [whole, plain] : [plain, whole]
  }

  function named<Ending extends string> (filename: string, endings: readonly Ending[]): Array<Companion<Ending>> {
    const companions = endings.flatMap(ending => candidatesOf(filename, ending).flatMap(candidate => {
      const there = present.has(candidate) ? [candidate] : byLower.get(candidate.toLowerCase()) ?? []
      const name = there.find(one => ownersOf(one).includes(filename))
      return name === undefined ? [] : [{ name, ending }]
    }))
    // `x.preview.png` ends in `.png`, too
    return companions.filter(({ name }, index) => companions.findIndex(other => other.name === name) === index)
  }

  const isOwn = (name: string, filename: string) => {
    const owners = ownersOf(name)
    return owners.length === 1 && owners[0] === filename
  }

  return {
    ownersOf,
    companionsOf: filename => ({
      sidecars: named(filename, sidecarEndings), previews: named(filename, previewEndings)
    }),
    sidecarFor (filename, ending) {
      const there = named(filename, [ending]).find(({ name }) => isOwn(name, filename))?.name
      return there ?? candidatesOf(filename, ending).find(name => isOwn(name, filename)) ?? null
    }
  }
}

function groupedBy (names: readonly string[], keysOf: (name: string) => readonly string[]): Map<string, string[]> {
  const groups = new Map<string, string[]>()
  for (const name of names) {
    for (const key of keysOf(name)) {
      const group = groups.get(key)
      if (group === undefined) groups.set(key, [name])
      else group.push(name)
    }
  }
  return groups
}
