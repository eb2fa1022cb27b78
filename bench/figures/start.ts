import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { withEnvironment } from '../environment/environment.ts'
import { startBareServer, startProduct } from '../environment/product.ts'
import { startUpstream } from '../environment/upstream.ts'
import { asRatio, inMebibytes, inMilliseconds, median } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'start and footprint'

const starts = 5
const startGoal = 1000
const minuteGoal = 500
const minute = 60_000
const memoryGoal = (process.versions.node.startsWith('20.') ? 120 : 150) * 1024 * 1024
const installGoal = 90 * 1024 * 1024
const root = fileURLToPath(new URL('../../../', import.meta.url))

/** What a start takes as `npm start` does it, with one server, and what the service takes in the minute after. */
export async function measure (): Promise<Row[]> {
  return await withEnvironment(async environment => {
    const { url } = await startUpstream(environment, { kind: 'simulator', options: {} })
    const [own, bare]: [number[], number[]] = [[], []]
    for (let count = 0; count < starts; count++) {
      const server = await startBareServer(environment)
      bare.push(await server.processorTime())
      await server.stop()
      const product = await startProduct(environment, [url])
      own.push(await product.processorTime())
      await product.stop()
    }
    const [product, server] = [await startProduct(environment, [url]), await startBareServer(environment)]
    const before = [await product.processorTime(), await server.processorTime()] as const
    await sleep(minute)
    const [after, bareAfter] = [await product.processorTime() - before[0], await server.processorTime() - before[1]]
    const [memory, bareMemory] = [await product.residentMemory(), await server.residentMemory()]
    const installed = await productionInstall()
    return [
      row('CPU until /ready', inMilliseconds, median(own), median(bare), startGoal),
      row('CPU in the minute after', inMilliseconds, after, bareAfter, minuteGoal),
      row('resident memory then', inMebibytes, memory, bareMemory, memoryGoal),
      {
        figure: 'production install',
        measured: inMebibytes(installed),
        limit: '',
        ratio: '',
        goal: `≤ ${inMebibytes(installGoal)}`,
        ok: installed <= installGoal
      }
    ]
  })
}

function row (
  figure: string, show: (value: number) => string, measured: number, limit: number, goal: number
): Row {
  return {
    figure,
    measured: show(measured),
    limit: `bare Fastify server ${show(limit)}`,
    ratio: asRatio(measured, limit),
    goal: `≤ ${show(goal)}`,
    ok: measured <= goal
  }
}

/** Bytes of the files that `npm ci --omit=dev` installs. */
async function productionInstall (): Promise<number> {
  const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, { readonly dev?: boolean }>>
  }
  let bytes = 0
  for (const [path, { dev }] of Object.entries(lock.packages)) {
    if (path === '' || dev === true) continue
    bytes += await sizeOf(join(root, path)).catch(() => 0)
  }
  return bytes
}

/** Without the packages inside, which the lock file lists by themselves. */
async function sizeOf (folder: string): Promise<number> {
  let bytes = 0
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.name === 'node_modules') continue
    const path = join(folder, entry.name)
    // Whole blocks, as a disk stores them.
    bytes += entry.isDirectory() ? await sizeOf(path) : (await stat(path)).blocks * 512
  }
  return bytes
}
