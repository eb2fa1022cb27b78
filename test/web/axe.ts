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

/**
 * The violations that axe finds in a page.
 * @param without rules of axe that another test applies; contrasts take half of the time
 */
export async function seriousFindings (page: Page, without: readonly string[] = []): Promise<string[]> {
  // The script stays while only the part behind # changes; loading it takes longer than most checks.
  if (!await page.evaluate('"axe" in window')) await page.evaluate(source)
  const rules = Object.fromEntries(without.map(id => [id, { enabled: false }]))
  const { violations, passes } = await page.evaluate(`axe.run(${JSON.stringify({ resultTypes: ['violations'], rules })})`) as
    Record<'violations' | 'passes', Finding[]>
  if (passes.length < 10) throw new Error('axe looked at nothing')
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`))
}
