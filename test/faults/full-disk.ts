import fs, { type FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import type { Test } from 'tap'

type Call = 'open' | 'write' | 'read'

/** Makes file calls of this process fail like a disk or the system. */
export interface FaultyDisk {
  /** From now on each of these calls on a path that contains `part` fails with this error. */
  fail (errno: string, calls: readonly Call[], part: string): void
  repair (): void
}

/** Every module of this process sees the change, since it calls Node's own functions by their names. */
export function createFaultyDisk (t: Pick<Test, 'teardown'>): FaultyDisk {
  const real = { open: fs.open, readFile: fs.readFile }
  let fault: { readonly errno: string, readonly calls: readonly Call[], readonly part: string } | null = null

  function strike (call: Call, path: unknown, syscall: string): void {
    if (fault === null || !fault.calls.includes(call) || !String(path).includes(fault.part)) return
    throw Object.assign(new Error(`${fault.errno}: injected, ${syscall} '${String(path)}'`),
      { code: fault.errno, syscall, path: String(path) })
  }

  fs.open = async (path, ...more) => {
    strike('open', path, 'open')
    const file = await real.open(path, ...more)
    const writeFile = file.writeFile.bind(file)
    file.writeFile = async (...content: Parameters<FileHandle['writeFile']>) => {
      strike('write', path, 'write')
      await writeFile(...content)
    }
    return file
  }
  fs.readFile = (async (...parameters: Parameters<typeof fs.readFile>) => {
    strike('read', parameters[0], 'open')
    return await real.readFile(...parameters)
  }) as typeof fs.readFile
  syncBuiltinESMExports()
  t.teardown(() => {
    Object.assign(fs, real)
    syncBuiltinESMExports()
  })
  return {
    fail (errno, calls, part) { fault = { errno, calls, part } },
    repair () { fault = null }
  }
}
