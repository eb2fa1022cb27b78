import { constants } from 'node:fs'
import { open, readdir, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { ServiceError } from '../lib/errors.ts'
import { fieldsOf } from '../lib/json-values.ts'
import {
  embeddedFacts, embeddedType, isLycoris, readSafetensorsHeader, type SafetensorsHeader
} from '../model-facts/embedded.ts'
import type { ModelFile, ModelType } from '../model-facts/facts.ts'
import { readSidecar } from './sidecar-file.ts'
import { factsOfSidecars, type Sidecar, typeOfSidecars } from './sidecars.ts'
import { type FolderNames, folderNames, type FoundFile } from './walk.ts'

/** A file of at least this size without any type is a checkpoint, in bytes. */
const sizeOfCheckpoint = 1_500_000_000

/** Raised with each improvement of the reader: older records are then read again. */
const factsVersion = 4

/**
 * Reads all facts of a file besides its hash: the header of a safetensors file, and its sidecars.
 * @param known its record of the scan before, which stays unchanged if the file did
 */
export async function inspectFile (
  found: FoundFile, names: FolderNames, known: ModelFile | undefined
): Promise<ModelFile> {
  const { stats, absolutePath } = found
  const folder = dirname(absolutePath)
  const filename = basename(absolutePath)
  const beside = names.companionsOf(filename)
  const previews = beside.previews.map(({ name }) => name)
  const inode = `${stats.dev}:${stats.ino}`
  const sameContent = known !== undefined && known.inode === inode && known.size === stats.size &&
    known.modifiedAt === stats.mtimeMs
  const companions = await signatureOf(folder, beside.sidecars.map(({ name }) => name), previews)
  const sameHome = known?.absolutePath === absolutePath && known.root === found.root && known.path === found.path
  if (sameContent && sameHome && known.companions === companions) return known

  const header = await headerOf(absolutePath, stats.size)
  const read = await Promise.all(beside.sidecars.map(async ({ name, ending }) =>
    ({ name, ending, outcome: await readSidecar({ root: found.root, folder, name }) })))
  const sidecars = read.flatMap(({ ending, outcome }): Sidecar[] =>
    outcome.kind === 'read' ? [{ ending, content: outcome.content }] : [])
  const sha256 = sameContent ? known.sha256 : null
  const autoV3 = sameContent ? known.autoV3 : null
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
    sha256,
    autoV3,
    facts: {
      ...factsOfSidecars(sidecars, { filename, sha256, autoV3 }),
      ...(header === null ? {} : { embedded: embeddedFacts(header) })
    },
    previews,
    unreadable: read.flatMap(({ name, outcome: { kind, ...rest } }) =>
      kind === 'unreadable' && 'reason' in rest ? [{ name, reason: rest.reason }] : []),
    ...(sha256 === null && sidecars.some(isOfSeveralVersions) ? { awaitsHash: true } : {}),
    companions
  }
}

function isOfSeveralVersions ({ content }: Sidecar): boolean {
  return [content, fieldsOf(content.civitai)].some(({ modelVersions }) =>
    Array.isArray(modelVersions) && modelVersions.length > 1)
}

/** A1111's convention of a VAE beside its checkpoint. */
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

async function signatureOf (folder: string, sidecars: readonly string[], previews: readonly string[]): Promise<string> {
  const parts = await Promise.all(sidecars.map(async name => {
    const stats = await stat(join(folder, name)).catch(() => null)
    return `${name}@${stats?.mtimeMs ?? 0}+${stats?.size ?? 0}/${stats?.ino ?? 0}`
  }))
  return [`facts ${factsVersion}`, ...parts, ...previews].join('|')
}

/**
 * The present state of the file; its hash stays if its content did. Write it with the lock of its folder.
 * @throws ServiceError `model_not_on_disk` for a file that was removed since the last scan
 */
export async function inspectAgain (file: ModelFile): Promise<ModelFile> {
  try {
    const neighbours = await readdir(dirname(file.absolutePath))
    const found = { ...file, stats: await stat(file.absolutePath), neighbours }
    return await inspectFile(found, folderNames(neighbours), { ...file, companions: '' })
  } catch (error) {
    throw new ServiceError('model_not_on_disk',
      `${basename(file.absolutePath)} is not where the last scan found it; scan again.`, { field: 'id' }, { cause: error })
  }
}

/** Larger files are neither pointers nor pages, in bytes. */
const largestText = 8 * 1024 * 1024
const headBytes = 1024

/**
 * Why a file with a model's extension is no model: a failed download or clone left something else. Null for a possible
 * model.
 * @throws Error if it cannot be read
 */
export async function brokenReason (path: string, size: number): Promise<string | null> {
  if (size === 0) return 'the file is empty; download it again'
  if (size > largestText) return null
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(headBytes), 0, headBytes, 0)
    const head = buffer.toString('latin1', 0, bytesRead)
    if (head.startsWith('version https://git-lfs.github.com/spec/')) {
      return 'the file is a pointer of Git LFS; get the model itself with "git lfs pull"'
    }
    return /^(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body)[\s>]/i.test(head)
      ? 'the file is a web page, such as one to log in at; download the model again'
      : null
  } finally {
    await file.close()
  }
}
