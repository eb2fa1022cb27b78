import { setTimeout as sleep } from 'node:timers/promises'

const interval = 20

/** Resolves once it is so. @param patience milliseconds after which it throws an Error */
export async function until (isSo: () => Promise<boolean>, what: string, patience = 60_000): Promise<void> {
  for (const end = performance.now() + patience; performance.now() < end; await sleep(interval)) {
    if (await isSo()) return
  }
  throw new Error(`waited in vain until ${what}`)
}
