import { cpus } from 'node:os'
import { messageOf } from '../src/lib/errors.ts'
import { figures } from './figures.ts'
import { closeEverything } from './environment/environment.ts'
import { readProcessorUse, shareOfOthers } from './machine.ts'
import { renderTable, type Row } from './table.ts'

const say = (text: string) => { process.stderr.write(`${text}\n`) }

/**
 * Measures the figures of these names, or all, and prints one table. A name such as `fleet` means all of `fleet:…`.
 * Answers the exit code of the process.
 */
export async function main (names: readonly string[]): Promise<number> {
  const isMeant = (figure: string, name: string) => figure === name || figure.startsWith(`${name}:`)
  const unknown = names.filter(name => !Object.keys(figures).some(figure => isMeant(figure, name)))
  if (unknown.length > 0) {
    say(`There is no figure ${unknown.join(', ')}. These exist:\n`)
    for (const [name, { about }] of Object.entries(figures)) say(`  ${name.padEnd(16)} ${about}`)
    return 2
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => { closeEverything().finally(() => process.exit(130)) })
  }
  const wanted = Object.entries(figures).filter(([name]) => names.length === 0 || names.some(one => isMeant(name, one)))
  const rows: Row[] = []
  let failed = 0
  const shares: number[] = []
  for (const [name, { about, measure }] of wanted) {
    const began = performance.now()
    const before = readProcessorUse()
    try {
      say(`${name}: ${about}…`)
      rows.push(...await measure())
      const share = shareOfOthers(before, readProcessorUse())
      if (share !== undefined) shares.push(share)
      say(`${name}: took ${Math.round((performance.now() - began) / 1000)} s${othersTook(share)}`)
    } catch (error) {
      failed++
      say(`${name} could not be measured: ${messageOf(error)}`)
    }
  }
  // Of all figures, the one that others disturbed most.
  const busiest = shares.length === 0 ? undefined : Math.max(...shares)
  process.stdout.write(`\nRedis with appendfsync always, ${new Date().toISOString()}, Node ${process.versions.node}, ` +
    `${cpus().length} processors${othersTook(busiest)}\n\n${renderTable(rows)}`)
  return failed === 0 ? 0 : 1
}

const othersTook = (share: number | undefined) =>
  share === undefined ? '' : `, other programs took ${Math.round(share * 100)} % of the processors`
