import axe from 'axe-core'
import type { Page } from 'playwright-core'

/** What axe finds of serious or critical weight on a page as it is now: rule and place of each. */
export async function seriousFindings (page: Page): Promise<string[]> {
  // As a string: the page's own rules let no script element in.
  await page.evaluate(axe.source)
  return await page.evaluate(`axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ target }) => id + ' at ' + target.join(' '))))`)
}
