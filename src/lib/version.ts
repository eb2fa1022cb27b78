import { readFileSync } from 'node:fs'

/** The version in package.json, which lies one folder above the sources and two above what they are built into. */
function readVersion (): string {
  for (const path of ['../../package.json', '../../package.json']) {
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
