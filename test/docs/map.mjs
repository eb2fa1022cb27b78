import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { layers } from '../../.dependency-cruiser.mjs'

const begin = '<!-- map: drawn from .dependency-cruiser.mjs by `npm run map` -->\n'
const end = '<!-- end of map -->\n'

/** The text of CONTRIBUTING.md with the map of the folders, highest first, between its marks. */
export function withMap (text) {
  const width = Math.max(...layers.map(({ folder }) => folder.length)) + 2
  const lines = layers.toReversed().map(({ folder, holds }) => `${`${folder}/`.padEnd(width)} ${holds}`)
  const [before, rest] = [text.slice(0, text.indexOf(begin)), text.slice(text.indexOf(end))]
  if (!text.includes(begin) || !text.includes(end)) throw new Error('CONTRIBUTING.md has no marks for the map')
  return `${before}${begin}\n\`\`\`\n${lines.join('\n')}\n\`\`\`\n\n${rest}`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const file = fileURLToPath(new URL('../../CONTRIBUTING.md', import.meta.url))
  writeFileSync(file, withMap(readFileSync(file, 'utf8')))
}
