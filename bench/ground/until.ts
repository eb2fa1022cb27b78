import { setTimeout as sleep } from 'node:timers/promises'

const patience = 60_000
const interval = 20

/** Resolves once it is so. @throws Error when it takes longer than a minute */
export async function until (isSo: () => Promise<boolean>, what: string): Promise<void> {
  for (const end = performance.now() + patience; performance.now() < end; await sleep(interval)) {
    if (await isSo()) return
  }
  throw new Error(`waited in vain until ${what}`)
}
