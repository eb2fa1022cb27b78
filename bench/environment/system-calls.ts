import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Child } from './child.ts'
import type { Environment } from './environment.ts'

/** System calls of all threads of a process during the work, by `strace -c -f`; null where strace cannot be had. */
export async function countSystemCalls (
  { folder }: Pick<Environment, 'folder'>, { pid }: Pick<Child, 'pid'>, work: () => Promise<unknown>
): Promise<number | null> {
  const path = join(folder, 'system-calls')
  const strace = spawn('strace', ['-c', '-f', '-p', String(pid), '-o', path], { stdio: ['ignore', 'ignore', 'pipe'] })
  const exited = once(strace, 'exit').catch(() => null)
  // It says which process it has attached to, or why it cannot.
  const [said] = await Promise.race([once(strace.stderr, 'data'), exited.then(() => [''])]) as [unknown]
  if (!String(said).includes('attached')) return null
  await work()
  strace.kill('SIGINT')
  await exited
  const total = (await readFile(path, 'utf8')).split('\n').find(line => / total$/.test(line))
  return Number(total?.trim().split(/\s+/)[3])
}
