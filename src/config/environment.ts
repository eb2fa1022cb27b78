import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { messageOf } from '../errors.ts'
import { SettingsError } from './parse.ts'

export type Environment = Record<string, string | undefined>

/**
 * The environment of the process over the file `.env` of a folder, if there is one.
 * @throws SettingsError when there is a `.env` that cannot be read
 */
export function readEnvironment (folder: string, given: Environment = process.env): Environment {
  return { ...readEnvironmentFile(join(folder, '.env')), ...given }
}

export function readEnvironmentFile (path: string): Environment {
  try {
    // Windows editors put a mark before the first name.
    return parseEnv(readFileSync(path, 'utf8').replace(/^\uFEFF/, ''))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return {}
    throw new SettingsError(`${path} cannot be read (${messageOf(error)}); mend or remove it`)
  }
}
