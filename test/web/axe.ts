import { readFileSync } from 'node:fs'
import type { Page } from 'playwright-core'
import { inRepository } from '../root.ts'

/** Half as long as what axe gives as its source, for pages to read. */
const source = readFileSync(inRepository('node_modules/axe-core/axe.min.js'), 'utf8')

interface Finding {
  readonly id: string
  readonly impact: string
  readonly nodes: ReadonlyArray<{ readonly html: string }>
}

/** The violations that axe finds in a page. */
export async function seriousFindings (page: Page): Promise<string[]> {
  // The script stays while only the part behind # changes; loading it takes longer than most checks.
  if (!await page.evaluate('"axe" in window')) await page.evaluate(source)
  const { violations, passes } = await page.evaluate('axe.run({ resultTypes: ["violations"] })') as
    Record<'violations' | 'passes', Finding[]>
  if (passes.length < 10) throw new Error('axe looked at nothing')
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`))
}
