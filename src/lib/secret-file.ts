import { randomUUID } from 'node:crypto'
import { constants, copyFile, link, mkdir, open, readFile, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

export interface SecretFile {
  readonly value: string
  /** True when this call made the file. */
  readonly created: boolean
}

/**
 * The text of a file that only its owner can read, created with `generate()` if there is none yet. Two processes that
 * start together agree on one value: files appear whole, never half.
 */
export async function readOrCreateSecretFile (path: string, generate: () => string): Promise<SecretFile> {
  const present = await readSecretFile(path)
  if (present !== null) return { value: present, created: false }
  const value = generate()
  if (await placeFile(path, value)) return { value, created: true }
  const winner = await readSecretFile(path)
  if (winner === null) throw new Error(`${path} vanished while it was being read; start again`)
  return { value: winner, created: false }
}

async function readSecretFile (path: string): Promise<string | null> {
  try {
    const value = (await readFile(path, 'utf8')).trim()
    if (value === '') throw new Error(`${path} is empty; restore it from a backup, or remove it to have a new one made`)
    return value
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null
    throw error
  }
}

/** Answers false if another process was first. */
async function placeFile (path: string, value: string): Promise<boolean> {
  await mkdir(dirname(path), { recursive: true, mode: 0o750 })
  const draft = `${path}.${randomUUID()}`
  try {
    const file = await open(draft, 'wx', 0o600)
    try {
      await file.writeFile(`${value}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    await putInPlace(draft, path)
    return true
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false
    throw error
  } finally {
    await rm(draft, { force: true })
  }
}

/** A hard link appears whole or not at all and never replaces; file systems without links get a copy. */
async function putInPlace (draft: string, path: string): Promise<void> {
  try {
    await link(draft, path)
  } catch (error) {
    if (hasCode(error, 'EEXIST')) throw error
    await copyFile(draft, path, constants.COPYFILE_EXCL)
  }
}

function hasCode (error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
