import { spawnSync } from 'node:child_process'
import { cpus } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { messageOf } from '../src/lib/errors.ts'
import { type Figure, figures } from './figures.ts'
import { closeEverything } from './environment/environment.ts'
import { measureCheckout } from './environment/product.ts'
import { readProcessorUse, shareOfOthers } from './machine.ts'
import { renderTable, type Row } from './table.ts'

const say = (text: string) => { process.stderr.write(`${text}\n`) }

/** The figures of speed and footprint, by the name `table`. */
const table = [
  'gap', 'latency', 'submissions', 'throughput', 'list', 'memory', 'cancel', 'start', 'idle', 'listeners', 'growth'
]

/**
 * Measures the figures of these names, or all, and prints one table. A name such as `fleet` means all of `fleet:…`.
 * `--before` names a checkout of another version, which is measured as well, figure by figure in turns. Returns the
 * exit code of the process.
 */
export async function main (argv: readonly string[]): Promise<number> {
  const { positionals, values } = parseArgs({
    args: [...argv], allowPositionals: true, options: { before: { type: 'string' } }
  })
  const names = positionals.flatMap(name => name === 'table' ? table : [name])
  const isMeant = (figure: string, name: string) => figure === name || figure.startsWith(`${name}:`)
  const unknown = names.filter(name => !Object.keys(figures).some(figure => isMeant(figure, name)))
  if (unknown.length > 0) {
    say(`There is no figure ${unknown.join(', ')}. These exist:\n`)
    for (const [name, { about }] of Object.entries(figures)) say(`  ${name.padEnd(16)} ${about}`)
    say(`  ${'table'.padEnd(16)} ${table.join(', ')}`)
    return 2
  }
  const before = values.before === undefined ? null : resolve(values.before)
  if (before !== null && !isBuilt(before)) {
    say(`${before} is no checkout of StableQueue that can be built.`)
    return 2
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => { closeEverything().finally(() => process.exit(130)) })
  }
  const wanted = Object.entries(figures).filter(([name]) => names.length === 0 || names.some(one => isMeant(name, one)))
  const [rows, rowsBefore]: [Row[], Row[]] = [[], []]
  let failed = 0
  const shares: number[] = []

  async function add (to: Row[], name: string, { about, measure }: Figure): Promise<void> {
    const began = performance.now()
    const used = readProcessorUse()
    try {
      say(`${name}: ${about}…`)
      to.push(...await measure())
      const share = shareOfOthers(used, readProcessorUse())
      if (share !== undefined) shares.push(share)
      say(`${name}: took ${Math.round((performance.now() - began) / 1000)} s${othersTook(share)}`)
    } catch (error) {
      failed++
      say(`${name} could not be measured: ${messageOf(error)}`)
    }
  }

  for (const [name, figure] of wanted) {
    if (before !== null) {
      measureCheckout(before)
      await add(rowsBefore, name, figure)
      measureCheckout()
    }
    await add(rows, name, figure)
  }
  // Of all figures, the one that others disturbed most.
  const busiest = shares.length === 0 ? undefined : Math.max(...shares)
  process.stdout.write(`\nRedis with appendfsync always, ${new Date().toISOString()}, Node ${process.versions.node}, ` +
    `${cpus().length} processors${othersTook(busiest)}\n\n${renderTable(rows, before === null ? undefined : rowsBefore)}`)
  return failed === 0 ? 0 : 1
}

/** Its own program installs and builds what is missing. */
function isBuilt (checkout: string): boolean {
  return spawnSync(process.execPath, [join(checkout, 'src/launch.mjs'), '--version'], { stdio: 'ignore' }).status === 0
}

const othersTook = (share: number | undefined) =>
  share === undefined ? '' : `, other programs took ${Math.round(share * 100)} % of the processors`
