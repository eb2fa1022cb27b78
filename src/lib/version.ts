import { readFileSync } from 'node:fs'

/** The version in package.json, which lies two folders above this file and three above its build. */
function readVersion (): string {
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as Record<string, unknown>
      if (name === 'stablequeue' && typeof version === 'string') return version
    } catch {
      // Not this folder.
    }
  }
  return '0.0.0'
}

export const version = readVersion()
