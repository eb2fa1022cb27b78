import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of package.json. Tests run from their sources or, faster, compiled from `dist/test`. */
export const root = folderWith('package.json', dirname(fileURLToPath(import.meta.url)))

/** Path of a file in the repository, such as `web/index.html`. */
export function inRepository (...names: string[]): string {
  return join(root, ...names)
}

function folderWith (name: string, folder: string): string {
  return existsSync(join(folder, name)) ? folder : folderWith(name, dirname(folder))
}
