import { readFile, writeFile } from 'node:fs/promises'
import type { TSchema } from '@sinclair/typebox'
import { allowed } from './parse.ts'
import { Settings } from './settings.ts'

/** The text of `.env.example`: every setting with its meaning and its default, none of them active. */
export function renderEnvironmentExample (): string {
  const head = wrap('The settings of StableQueue. Copy this file to .env and remove the # before a line to change it. ' +
    'Environment variables override those of .env.')
  const settings = Object.entries(Settings.properties).map(([name, schema]) => [
    '', ...wrap(meaning(schema)), `#${name}=${defaultText(schema)}`
  ].join('\n'))
  return [...head, ...settings, ''].join('\n')
}

/** The table of docs/settings.md, in Markdown. */
export function renderSettingsTable (): string {
  const rows = Object.entries(Settings.properties).map(([name, schema]) =>
    `| \`${name}\` | ${code(defaultText(schema))} | ${meaning(schema).replaceAll('|', '\\|')} |`)
  return ['| Setting | Default | Meaning |', '| --- | --- | --- |', ...rows].join('\n')
}

/** The description, and the allowed values unless any text is allowed. */
function meaning (schema: TSchema): string {
  const values = schema.type === 'string' && !schema.enum ? '' : ` (${allowed(schema)})`
  return `${schema.description}${values}`
}

function defaultText (schema: TSchema): string {
  return Array.isArray(schema.default) ? schema.default.join(',') : String(schema.default)
}

function code (text: string): string {
  return text === '' ? '' : `\`${text}\``
}

/** Comment lines of at most 100 columns. */
function wrap (text: string): string[] {
  return [...text.matchAll(/\S.{0,96}(?=\s|$)/g)].map(([line]) => `# ${line}`)
}

/** `npm run settings`: updates `.env.example` and the table in docs/settings.md, in the current folder. */
const page = await readFile('docs/settings.md', 'utf8')
const table = `<!-- settings -->\n${renderSettingsTable().trimEnd()}\n<!-- /settings -->`
await writeFile('docs/settings.md', page.replace(/<!-- settings -->[\s\S]*<!-- \/settings -->/, () => table))
await writeFile('.env.example', renderEnvironmentExample())
