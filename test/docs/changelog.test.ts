import { readFile } from 'node:fs/promises'
import t from 'tap'
import { inRepository } from '../root.ts'

t.test('the changelog has a dated section for each version, the newest one first', async t => {
  const changelog = await readFile(inRepository('CHANGELOG.md'), 'utf8')
  const { version } = JSON.parse(await readFile(inRepository('package.json'), 'utf8')) as { version: string }
  const headings = [...changelog.matchAll(/^## (.*)$/gm)].map(([, heading = '']) => heading)
  const released = headings.filter(heading => heading !== 'Unreleased')
  for (const heading of released) t.match(heading, /^\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)$/)
  t.ok(released[0]?.startsWith(`${version} (`), 'the newest is that of package.json')
  const dates = released.map(heading => heading.slice(-11, -1))
  t.same(dates, dates.toSorted().toReversed())
})
