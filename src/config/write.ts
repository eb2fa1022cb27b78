import { readFile, writeFile } from 'node:fs/promises'
import { renderEnvironmentExample, renderSettingsTable } from './render.ts'

/** `npm run settings`: brings `.env.example` and the table in docs/settings.md up to date, in the current folder. */
const page = await readFile('docs/settings.md', 'utf8')
const table = `<!-- settings -->\n${renderSettingsTable().trimEnd()}\n<!-- /settings -->`
await writeFile('docs/settings.md', page.replace(/<!-- settings -->[\s\S]*<!-- \/settings -->/, () => table))
await writeFile('.env.example', renderEnvironmentExample())
