import { messageOf } from '../src/lib/errors.ts'
import { closeEverything } from './environment/environment.ts'
import { measureCheckout } from './environment/product.ts'
import { figures } from './figures.ts'
import type { Row } from './table.ts'

/** What a figure's process tells its parent: the rows, or why there are none. */
export type FigureReport = { readonly rows: Row[] } | { readonly error: string }

/**
 * Measures one figure: `figure-process.js NAME [CHECKOUT]`. A process that had measured others before would collect
 * their garbage in between: up to 15 ms, in some of the pages that `list` asks for.
 */
const [name = '', checkout] = process.argv.slice(2)
let isInterrupted = false

function interrupt (): void {
  isInterrupted = true
  closeEverything().finally(() => process.exit(130))
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, interrupt)
// The parent is gone.
process.once('disconnect', interrupt)
measureCheckout(checkout)
async function measure (): Promise<FigureReport> {
  try {
    const figure = figures[name]
    return figure === undefined ? { error: `There is no figure ${name}.` } : { rows: await figure.measure() }
  } catch (error) {
    return { error: messageOf(error) }
  }
}

const report = await measure()
if (!isInterrupted) process.send?.(report, () => process.exit())
