import axe from 'axe-core'
import type { Page } from 'playwright-core'

interface Finding {
  readonly id: string
  readonly impact: string
  readonly nodes: ReadonlyArray<{ readonly html: string }>
}

/** What axe finds that keeps people from using the page. */
export async function seriousFindings (page: Page): Promise<string[]> {
  // It stays while the address changes behind the # only; reading it takes longer than most of its looks.
  if (!await page.evaluate('"axe" in window')) await page.evaluate(axe.source)
  const { violations, passes } = await page.evaluate('axe.run({ resultTypes: ["violations"] })') as
    Record<'violations' | 'passes', Finding[]>
  if (passes.length < 10) throw new Error('axe looked at nothing')
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`))
}
