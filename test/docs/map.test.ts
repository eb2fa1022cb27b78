import { readFile } from 'node:fs/promises'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { inRepository } from '../root.ts'

t.test('the map in CONTRIBUTING.md equals the linter\'s rules for imports', async t => {
  const drawing: string = pathToFileURL(inRepository('test/docs/map.mjs')).href
  const { withMap } = await import(drawing) as { withMap: (text: string) => string }
  const text = await readFile(inRepository('CONTRIBUTING.md'), 'utf8')
  t.equal(text, withMap(text), 'run `npm run map`')
})
