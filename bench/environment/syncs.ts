import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { now } from '../statistics.ts'
import type { Environment } from './environment.ts'

/** Milliseconds of so many writes to the environment's disk, one after the other, each time. */
export async function measureSyncs (
  { folder }: Pick<Environment, 'folder'>, { times, syncs }: { readonly times: number, readonly syncs: number }
): Promise<number[]> {
  const file = await open(join(folder, 'syncs'), 'a')
  const taken: number[] = []
  try {
    for (let index = 0; index < times; index++) {
      const began = now()
      for (let sync = 0; sync < syncs; sync++) {
        await file.write('a line that is about as long as what a job appends\n')
        await file.datasync()
      }
      taken.push(now() - began)
    }
  } finally {
    await file.close()
  }
  return taken
}
