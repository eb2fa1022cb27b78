import { fork, spawnSync } from 'node:child_process'
import { cpus } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { FigureReport } from './figure-process.ts'
import { figures } from './figures.ts'
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
  const wanted = Object.entries(figures).filter(([name]) => names.length === 0 || names.some(one => isMeant(name, one)))
  const [rows, rowsBefore]: [Row[], Row[]] = [[], []]
  let failed = 0
  const shares: number[] = []

  async function add (to: Row[], name: string, about: string, checkout?: string): Promise<void> {
    const began = performance.now()
    const used = readProcessorUse()
    say(`${name}: ${about}…`)
    const report = await measureAlone(name, checkout)
    if ('error' in report) {
      failed++
      say(`${name} could not be measured: ${report.error}`)
      return
    }
    to.push(...report.rows)
    const share = shareOfOthers(used, readProcessorUse())
    if (share !== undefined) shares.push(share)
    say(`${name}: took ${Math.round((performance.now() - began) / 1000)} s${othersTook(share)}`)
  }

  for (const [name, { about }] of wanted) {
    if (before !== null) await add(rowsBefore, name, about, before)
    await add(rows, name, about)
  }
  // Of all figures, the one that others disturbed most.
  const busiest = shares.length === 0 ? undefined : Math.max(...shares)
  process.stdout.write(`\nRedis with appendfsync always, ${new Date().toISOString()}, Node ${process.versions.node}, ` +
    `${cpus().length} processors${othersTook(busiest)}\n\n${renderTable(rows, before === null ? undefined : rowsBefore)}`)
  return failed === 0 ? 0 : 1
}

/** Measures a figure in a process of its own. @param checkout of the version to measure; this one if there is none */
async function measureAlone (name: string, checkout?: string): Promise<FigureReport> {
  const parameters = checkout === undefined ? [name] : [name, checkout]
  const child = fork(fileURLToPath(new URL('figure-process.js', import.meta.url)), parameters)
  const stop = () => { child.kill('SIGTERM') }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop)
  const report = await new Promise<FigureReport>(resolve => {
    let sent: FigureReport | undefined
    child.on('message', (message: FigureReport) => { sent = message })
    child.once('close', (code, signal) => { resolve(sent ?? { error: `its process ended with ${code ?? signal}` }) })
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, stop)
  // It was interrupted.
  if (child.exitCode === 130) process.exit(130)
  return report
}

/** Its own program installs and builds what is missing. */
function isBuilt (checkout: string): boolean {
  return spawnSync(process.execPath, [join(checkout, 'src/launch.mjs'), '--version'], { stdio: 'ignore' }).status === 0
}

const othersTook = (share: number | undefined) =>
  share === undefined ? '' : `, other programs took ${Math.round(share * 100)} % of the processors`
