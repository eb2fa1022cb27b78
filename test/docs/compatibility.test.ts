import { access, readdir, readFile } from 'node:fs/promises'
import t from 'tap'
import { inRepository } from '../root.ts'

interface Table { readonly title: string, readonly rows: ReadonlyArray<readonly string[]> }

/** The tables of the page by heading, without their heads. */
async function tables (): Promise<Table[]> {
  const page = await readFile(inRepository('docs', 'compatibility.md'), 'utf8')
  return page.split('\n## ').slice(1).flatMap(part => {
    const title = part.split('\n')[0] ?? ''
    return [...part.matchAll(/(?:^\|.*\n?)+/gm)].map(([table]) => {
      const rows = table.trim().split('\n').map(line => line.split('|').slice(1, -1).map(cell => cell.trim()))
      return { title, rows: rows.slice(2) }
    })
  })
}

t.test('each row of docs/compatibility.md names an existing test file', async t => {
  const found = await tables()
  t.strictSame([...new Set(found.map(({ title }) => title))], ['Servers', 'Clients', 'Differences that remain on purpose'])
  for (const { title, rows } of found) {
    t.ok(rows.length > 5, title)
    for (const row of rows) {
      const [, file = ''] = /^`([a-z0-9/-]+)`$/.exec(row.at(-1) ?? '') ?? []
      await t.resolves(access(inRepository('test', `${file}.test.ts`)), `${title}: ${row[0] ?? ''}: ${row.at(-1) ?? ''}`)
    }
  }
})

t.test('each client with a test file has a row', async t => {
  const rows = (await tables()).flatMap(({ rows }) => rows.map(row => row.at(-1)))
  const files = await readdir(inRepository('test', 'clients'))
  for (const file of files) {
    if (file.endsWith('.test.ts')) t.ok(rows.includes(`\`clients/${file.replace('.test.ts', '')}\``), file)
  }
})
