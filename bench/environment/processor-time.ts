import { readFileSync } from 'node:fs'

/** Of Linux' counters of processor time. */
const ticksPerSecond = 100

/** Milliseconds that a process and all its threads have used of the processors so far, user and system. */
export function processorTime (pid: number): number {
  // After the name, which can contain spaces: state, ten more fields, then user and system ticks.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond * 1000
}

/** Milliseconds that a process uses for each of so many pieces of work. */
export async function processorTimeOf (
  pid: number, times: number, work: (index: number) => Promise<unknown>
): Promise<number> {
  const before = processorTime(pid)
  for (let index = 0; index < times; index++) await work(index)
  return (processorTime(pid) - before) / times
}
