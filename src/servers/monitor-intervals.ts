import type { StartPatience } from './start-check.ts'

/** How often a server is looked at, in milliseconds. */
export interface MonitorIntervals {
  readonly whileUp: number
  /** While nothing runs there and its end would be noticed by an open connection; as `whileUp` if left out. */
  readonly whileIdle?: number
  readonly whileDown: number
  /** How often its lists are read again, and while it is idle; as `inventory` if left out. */
  readonly inventory: number
  readonly inventoryWhileIdle?: number
  readonly start?: StartPatience
}

export const defaultMonitorIntervals: MonitorIntervals = {
  whileUp: 15_000, whileIdle: 30_000, whileDown: 1000, inventory: 120_000, inventoryWhileIdle: 600_000
}
