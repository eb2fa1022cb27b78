import { readFileSync, readlinkSync } from 'node:fs'
import { hasEnded, identify, type ProcessIdentity } from '../redis/process.ts'

/** Who holds a lease: its id, and where on this world it runs, so that its neighbours can see when it is gone. */
export interface LeaseHolder {
  readonly id: string
  /** The process as seen in `space`; null where the system does not tell. */
  readonly process: ProcessIdentity | null
  /** Within which process numbers mean the same process: one boot of one machine, and one container of it. */
  readonly space: string | null
}

/** This process as the holder of leases. */
export function describeHolder (id: string): LeaseHolder {
  const space = processSpace()
  return { id, process: space === null ? null : identify(process.pid) ?? null, space }
}

/** What a lease says of its holder. The same holder always gives the same text. */
export function writeHolder ({ id, process, space }: LeaseHolder): string {
  return JSON.stringify({ id, process, space })
}

/**
 * Whether the holder that a lease names is certainly dead, so that nobody need wait for its lease to run out. Never
 * true of one on another machine or in another container, which cannot be seen from here: only silence tells of those.
 */
export function isHolderGone (text: string, own: LeaseHolder): boolean {
  const holder = readHolder(text)
  if (holder === null || holder.space === null || holder.process === null) return false
  return holder.space === own.space && hasEnded(holder.process)
}

function readHolder (text: string): LeaseHolder | null {
  try {
    const { id, process, space } = JSON.parse(text) as Partial<LeaseHolder>
    return { id: String(id), process: process ?? null, space: space ?? null }
  } catch {
    return null
  }
}

/** Linux tells both; elsewhere there is no proof, and leases run out. */
function processSpace (): string | null {
  try {
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${readlinkSync('/proc/self/ns/pid')}`
  } catch {
    return null
  }
}
