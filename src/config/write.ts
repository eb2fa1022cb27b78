import { readFile, writeFile } from 'node:fs/promises'
import { renderEnvironmentExample, renderSettingsTable } from './render.ts'

/** `npm run settings`: brings `.env.example` and the table in the README up to date, in the current folder. */
const readme = await readFile('README.md', 'utf8')
const table = `<!-- settings -->\n${renderSettingsTable().trimEnd()}\n<!-- /settings -->`
await writeFile('README.md', readme.replace(/<!-- settings -->[\s\S]*<!-- \/settings -->/, () => table))
await writeFile('.env.example', renderEnvironmentExample())
