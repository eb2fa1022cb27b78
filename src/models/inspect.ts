import { constants } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { objectOf } from '../a1111/json-values.ts'
import { parseJson } from '../json/parse.ts'
import { companionsOf } from './companions.ts'
import { embeddedFacts, embeddedType, isLycoris } from './embedded-facts.ts'
import { openInside } from './folders.ts'
import type { ModelFile, ModelType } from './model.ts'
import { readSafetensorsHeader, type SafetensorsHeader } from './safetensors.ts'
import { factsOfSidecars, typeOfSidecars, type Sidecar } from './sidecars.ts'
import type { FoundFile } from './walk.ts'

/** No person writes longer ones, in bytes. */
const longestSidecar = 4 * 1024 * 1024
const sidecarBounds = { depth: 32, values: 200_000 }
/** A file of this size that nothing tells about is a checkpoint, in bytes. */
const sizeOfCheckpoint = 1_500_000_000

/** Raised when more is understood of files: what was read before is then read again. */
const factsVersion = 2

/** Names of a folder's files by their lower case. */
export type Neighbours = ReadonlyMap<string, string>

/**
 * Reads what there is to know about a file besides its hash: the header if it is a safetensors file, and its sidecars.
 * @param known its record of the scan before, which stays as it is where nothing changed
 */
export async function inspectFile (
  found: FoundFile, neighbours: Neighbours, known: ModelFile | undefined
): Promise<ModelFile> {
  const { stats, absolutePath } = found
  const folder = dirname(absolutePath)
  const { sidecars: names, previews } = companionsOf(basename(absolutePath), neighbours)
  const inode = `${stats.dev}:${stats.ino}`
  const sameContent = known !== undefined && known.inode === inode && known.size === stats.size &&
    known.modifiedAt === stats.mtimeMs
  const companions = await signatureOf(folder, names, previews)
  const sameHome = known?.absolutePath === absolutePath && known.root === found.root && known.path === found.path
  if (sameContent && sameHome && known.companions === companions) return known

  const header = await headerOf(absolutePath, stats.size)
  const sidecars = (await Promise.all(names.map(async name => await readSidecar(found.root, folder, name)))).flat()
  return {
    absolutePath,
    root: found.root,
    path: found.path,
    type: typeByName(found) ?? (header === null ? null : embeddedType(header)) ?? typeOfSidecars(sidecars) ??
      (stats.size >= sizeOfCheckpoint ? 'checkpoint' : 'other'),
    lycoris: found.lycoris || (header !== null && isLycoris(header)),
    size: stats.size,
    createdAt: stats.birthtimeMs,
    modifiedAt: stats.mtimeMs,
    inode,
    sha256: sameContent ? known.sha256 : null,
    autoV3: sameContent ? known.autoV3 : null,
    facts: { ...factsOfSidecars(sidecars), ...(header === null ? {} : { embedded: embeddedFacts(header) }) },
    previews: [...previews],
    companions
  }
}

/** A1111's way to lay a VAE beside the checkpoint that it belongs to. */
const vaeName = /\.vae\.[a-z]+$/i

function typeByName ({ type, absolutePath }: FoundFile): ModelType | null {
  return vaeName.test(absolutePath) && (type === null || type === 'checkpoint') ? 'vae' : type
}

async function headerOf (path: string, size: number): Promise<SafetensorsHeader | null> {
  if (!/\.(safetensors|sft)$/i.test(path)) return null
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    return await readSafetensorsHeader(file, size)
  } finally {
    await file.close()
  }
}

/** None for a file that is gone, too long, or no JSON object. */
async function readSidecar (root: string, folder: string, name: string): Promise<Sidecar[]> {
  const file = await openInside(root, folder, name)
  if (file === null) return []
  try {
    if ((await file.stat()).size > longestSidecar) return []
    const content = objectOf(parseJson(name, await file.readFile(), sidecarBounds))
    return content === null ? [] : [{ name, content }]
  } catch {
    return []
  } finally {
    await file.close()
  }
}

async function signatureOf (folder: string, sidecars: readonly string[], previews: readonly string[]): Promise<string> {
  const parts = await Promise.all(sidecars.map(async name => {
    const stats = await stat(join(folder, name)).catch(() => null)
    return `${name}@${stats?.mtimeMs ?? 0}+${stats?.size ?? 0}`
  }))
  return [`facts ${factsVersion}`, ...parts, ...previews].join('|')
}
