import { createRandom } from '../random.ts'
import type { Fault, FaultKind, StruckFaults } from './faults.ts'

/** The faults that are switched on now. */
export interface FaultBox {
  /** Replaces all faults; whoever hangs because of one that is gone, goes on. */
  set (faults: readonly Fault[]): void
  list (): readonly Fault[]
  /** Decides which faults strike a generation; `own` came with its request and always do. */
  draw (prompt: string, own: readonly Fault[]): StruckFaults
  /** The missing route that a request asks for, if it is one. */
  drawMissing (method: string, path: string): Fault | undefined
  /** Whether a fault strikes what is no generation. */
  drawOther (kind: FaultKind): boolean
  /** Lets a proxy be away for so many requests. */
  goAway (requests: number): void
  /** Whether a proxy is away for this request. */
  isAway (): boolean
  /** Resolves when the fault was taken away. */
  gone (fault: Fault): Promise<void>
}

/** They strike other requests than generations. */
const elsewhere: ReadonlySet<FaultKind> = new Set(['missing-route', 'cannot-load'])

export function createFaultBox (seed: number, initial: readonly Fault[]): FaultBox {
  const random = createRandom(seed)
  let armed: Array<{ readonly fault: Fault, left: number }> = []
  let active = new Set<Fault>()
  let away = 0
  const waiting: Array<() => void> = []

  function set (faults: readonly Fault[]): void {
    armed = faults.map(fault => ({ fault, left: fault.sticky === true ? Infinity : fault.times ?? 1 }))
    active = new Set(faults)
    away = 0
    for (const wake of waiting.splice(0)) wake()
  }

  function strikes (entry: { readonly fault: Fault, readonly left: number }, prompt: string): boolean {
    const { fault, left } = entry
    if (left <= 0 || (fault.prompt !== undefined && !prompt.includes(fault.prompt))) return false
    return fault.probability === undefined || random() < fault.probability
  }

  set(initial)

  return {
    set,
    list: () => armed.filter(entry => entry.left > 0).map(entry => entry.fault),
    draw (prompt, own) {
      const struck = new Map<FaultKind, Fault>()
      for (const entry of armed) {
        if (elsewhere.has(entry.fault.kind) || !strikes(entry, prompt)) continue
        entry.left -= 1
        struck.set(entry.fault.kind, entry.fault)
      }
      for (const fault of own) {
        struck.set(fault.kind, fault)
        active.add(fault)
      }
      return { get: kind => struck.get(kind), has: kind => struck.has(kind) }
    },
    drawMissing (method, path) {
      const entry = armed.find(({ fault, left }) => fault.kind === 'missing-route' && left > 0 &&
        fault.path === path && (fault.method ?? method) === method)
      if (entry !== undefined) entry.left -= 1
      return entry?.fault
    },
    drawOther (kind) {
      const entry = armed.find(({ fault, left }) => fault.kind === kind && left > 0)
      if (entry !== undefined) entry.left -= 1
      return entry !== undefined
    },
    goAway (requests) { away = requests },
    isAway () {
      if (away <= 0) return false
      away -= 1
      return true
    },
    async gone (fault) {
      while (active.has(fault)) await new Promise<void>(resolve => { waiting.push(resolve) })
    }
  }
}
