import { createHash } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import type { Redis } from 'ioredis'
import { withDeadline } from '../lib/deadline.ts'
import type { Keys } from '../lib/keys.ts'
import type { Log } from '../lib/logging.ts'
import { hasEnded, identify, type ProcessIdentity } from '../redis/private/process.ts'
import { loadScript } from '../redis/scripts.ts'

/** The holder of a lease: its id, and where it runs, so that other processes there can see when it is gone. */
export interface LeaseHolder {
  readonly id: string
  /** The process as seen in `space`; null if the system does not report it. */
  readonly process: ProcessIdentity | null
  /** The scope in which process numbers are unique: one boot of one machine, and one container of it. */
  readonly space: string | null
}

/** This process as the holder of leases. */
export function describeHolder (id: string): LeaseHolder {
  const space = processSpace()
  return { id, process: space === null ? null : identify(process.pid) ?? null, space }
}

/** A lease's text for its holder. The same holder always has the same text. */
export function writeHolder ({ id, process, space }: LeaseHolder): string {
  return JSON.stringify({ id, process, space })
}

/**
 * Whether the holder that a lease names is certainly dead, so that its lease need not expire first. Never true of a
 * holder on another machine or in another container, which is not visible from here: only its silence shows its end.
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

/** Linux provides both; elsewhere there is no proof, and leases must expire. */
function processSpace (): string | null {
  try {
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${readlinkSync('/proc/self/ns/pid')}`
  } catch {
    return null
  }
}

/** Ours under a fence, or another's for at least this many milliseconds more unless released. */
export type LeaseAnswer =
  | { readonly kind: 'taken', readonly fence: number }
  | { readonly kind: 'held', readonly remainingMs: number }

/** A lease is renewed several times within this part of its lifetime. */
const almost = 0.75

/**
 * One process at a time serves a server: the holder of its lease. The fence rises with each new holder, which
 * distinguishes late reports of a former holder from those of the present one.
 */
export interface LeaseStore {
  /**
   * Takes the lease, also from a holder that has certainly died, without waiting until it expires. Call this repeatedly
   * while another process holds it: only a process that watches a lease can see that it has expired.
   */
  acquire (serverId: string, lifetimeMs: number): Promise<LeaseAnswer>
  /** Whether the lease is still ours; takes it back if it expired and no other process had it since. */
  renew (serverId: string, fence: number, lifetimeMs: number): Promise<boolean>
  /** Whether no other process has had the lease since it was taken under this fence. */
  isHeld (serverId: string, fence: number): Promise<boolean>
  /** @param heir the text of another holder, which gets the lease in the same step: no third process can take it */
  release (serverId: string, heir?: string): Promise<void>
}

type LeaseKeys = [lease: string, fences: string, beat: string]

const script = (name: string) => new URL(`scripts/${name}.lua`, import.meta.url)
const acquireLease = loadScript<LeaseKeys, [holder: string, lifetimeMs: number, beat: string],
  [taken: 1, fence: number] | [taken: 0, beat: string, holder: string | null, leftMs: number]>(script('acquire-lease'))
export const renewLeases = loadScript<[prefix: string], [holder: string, leases: string], Array<0 | 1>>(script('renew-leases'))
const releaseLease = loadScript<[lease: string, beat: string], [holder: string, heir: string, lifetimeMs: number], 1>(
  script('release-lease'))

const announceWorker = loadScript<[announcements: string], [holder: string, announcement: string],
  Array<[holder: string, announcement: string]>>(script('announce-worker'))

/** A beat of another process, as seen from here, by the monotonic clock. */
interface Watched {
  readonly beat: string
  readonly since: number
  readonly seenAt: number
}

/** A renewal that is not sent yet. */
interface DueRenewal {
  readonly serverId: string
  readonly fence: number
  readonly lifetimeMs: number
  settle (answer: Promise<boolean>): void
}

/** @param own this process, as the leases name it */
export function createLeaseStore (redis: Redis, keys: Keys, own: LeaseHolder): LeaseStore {
  const holder = writeHolder(own)
  const watched = new Map<string, Watched>()
  const keysOf = (serverId: string) => [
    keys.key('lease', serverId), keys.key('lease', serverId, 'fence'), keys.key('lease', serverId, 'beat')
  ] as const

  let due: DueRenewal[] = []

  /** Renews the leases of all servers whose time came in the same turn of the event loop with one script. */
  function renewTogether (): void {
    const renewals = due
    due = []
    const leases = renewals.map(({ serverId, lifetimeMs, fence }) => `${serverId} ${lifetimeMs} ${fence}`).join(' ')
    const answers = renewLeases(redis, [keys.key('')], [holder, leases])
    for (const [index, { settle }] of renewals.entries()) settle(answers.then(all => all[index] === 1))
  }

  async function ask (serverId: string, lifetimeMs: number, seen: string) {
    const answer = await acquireLease(redis, keysOf(serverId), [holder, lifetimeMs, seen])
    if (answer[0] === 1) {
      watched.delete(serverId)
      return { kind: 'taken', fence: answer[1] } as const
    }
    const [, beat, other, left] = answer
    return { kind: 'held', beat, other: other ?? '', left } as const
  }

  /** Milliseconds until an unchanged beat means that its holder is gone. */
  function watch (serverId: string, beat: string, left: number): number {
    const now = performance.now()
    const lifetime = Number(/^\d+\.\d+\.(\d+)/.exec(beat)?.[1] ?? 0)
    const before = watched.get(serverId)
    // A process that did not look for a while, because Redis or the process stalled, does not know whether others could
    // renew.
    const isWatched = before?.beat === beat && now - before.seenAt < lifetime * almost
    const since = isWatched ? before.since : now
    watched.set(serverId, { beat, since, seenAt: now })
    // Redis has removed it already, and no earlier beat contradicts that.
    if (left < 0 && before === undefined) return 0
    return left < 0 ? since + lifetime * almost - now : Math.min(since + lifetime - now, left)
  }

  return {
    async acquire (serverId, lifetimeMs) {
      const found = await ask(serverId, lifetimeMs, '')
      if (found.kind === 'taken') return found
      const { beat, other, left } = found
      // A process of an earlier version has no beat.
      if (beat === '') return { kind: 'held', remainingMs: Math.max(0, left) }
      const remainingMs = watch(serverId, beat, left)
      if (remainingMs > 0 && !isHolderGone(other, own)) return { kind: 'held', remainingMs }
      // Of several processes that saw it expire, one gets the lease.
      const again = await ask(serverId, lifetimeMs, beat)
      return again.kind === 'taken' ? again : { kind: 'held', remainingMs: lifetimeMs }
    },
    async renew (serverId, fence, lifetimeMs) {
      return await new Promise<boolean>(resolve => {
        if (due.push({ serverId, fence, lifetimeMs, settle: resolve }) === 1) process.nextTick(renewTogether)
      })
    },
    async isHeld (serverId, fence) {
      return Number(await redis.get(keysOf(serverId)[1])) === fence
    },
    async release (serverId, heir = '') {
      const [lease, , beat] = keysOf(serverId)
      await releaseLease(redis, [lease, beat], [holder, heir, heirLifetime])
    }
  }
}

/** How long to wait for Redis' answer whether a lease is still held, in milliseconds. */
const askPatience = 1000

/** @throws Error if the answer is late */
export async function answeredSoon<Answer> (answer: Promise<Answer>): Promise<Answer> {
  return await withDeadline(askPatience, [], async late => await Promise.race([
    answer,
    new Promise<never>((_resolve, reject) => {
      late.addEventListener('abort', () => { reject(late.reason) }, { once: true })
    })
  ]))
}

/** A renewal of a lease, counted from before it was sent. */
export interface Renewal {
  /**
   * Whether it was so short ago that no other process can have the lease yet. By both clocks: the monotonic one stops
   * while the machine sleeps.
   */
  isFresh (lifetimeMs: number): boolean
}

export function createRenewal (): Renewal {
  const [at, date] = [performance.now(), Date.now()]
  return { isFresh: lifetimeMs => Math.max(performance.now() - at, Math.abs(Date.now() - date)) < lifetimeMs / 2 }
}

/** How long an heir has to take up the lease that it got, in milliseconds. */
const heirLifetime = 4000

/** Another process that runs jobs. */
export interface LiveWorker {
  /** Its text as the holder of leases. */
  readonly holder: string
  /** Servers that it should serve, does not serve yet, and can reach. */
  readonly wanted: readonly string[]
  /** Whether it can run jobs. A worker that cannot has no share. */
  readonly isFit: boolean
}

/**
 * The processes that run jobs. A process of an earlier version announces nothing, so nobody hands anything over to it.
 */
export interface WorkerRoster {
  /** The text of this process as the holder of leases. */
  readonly own: string
  /** Announces this process for a few seconds, and reads the other announcements. Call it repeatedly. */
  announce (wanted: readonly string[], isFit?: boolean): Promise<void>
  /**
   * The other workers whose announcements were seen to change within their lifetime, by the monotonic clock. A worker
   * that died at once drops out at once where its death can be seen, as with leases.
   */
  others (): readonly LiveWorker[]
  /** Withdraws the announcement. */
  leave (): Promise<void>
}

interface Announcement {
  readonly count: number
  readonly lifetimeMs: number
  readonly wanted: readonly string[]
  /** Absent in earlier versions. */
  readonly isFit?: boolean
}

/** An announcement as seen from here; `changedAt` is null while it was not seen to change. */
interface SeenAnnouncement extends Announcement {
  readonly seenAt: number
  readonly changedAt: number | null
}

/** An announcement that does not change for this long is removed, in milliseconds. */
const forgottenAfter = 60_000

export function createWorkerRoster (redis: Redis, keys: Keys, own: LeaseHolder, lifetimeMs = 4000): WorkerRoster {
  const key = keys.key('workers')
  const holder = writeHolder(own)
  const seen = new Map<string, SeenAnnouncement>()
  let count = 0

  async function look (announced: Promise<Array<[holder: string, announcement: string]>>): Promise<void> {
    const now = performance.now()
    const found = new Map(await announced)
    for (const text of seen.keys()) if (!found.has(text)) seen.delete(text)
    for (const [text, value] of found) {
      const announcement = JSON.parse(value) as Announcement
      const before = seen.get(text)
      const isNew = before === undefined
      if (!isNew && before.count === announcement.count) {
        if (now - (before.changedAt ?? before.seenAt) > forgottenAfter || isHolderGone(text, own)) {
          seen.delete(text)
          await redis.hdel(key, text)
        }
      } else {
        seen.set(text, { ...announcement, seenAt: now, changedAt: isNew ? null : now })
      }
    }
  }

  return {
    own: holder,
    async announce (wanted, isFit = true) {
      count++
      await look(announceWorker(redis, [key],
        [holder, JSON.stringify({ count, lifetimeMs, wanted, isFit } satisfies Announcement)]))
    },
    others () {
      const now = performance.now()
      return [...seen].flatMap(([text, { changedAt, lifetimeMs: lifetime, wanted, isFit = true }]) => {
        const isLive = changedAt !== null && now - changedAt < lifetime && !isHolderGone(text, own)
        return isLive ? [{ holder: text, wanted, isFit }] : []
      })
    },
    async leave () {
      await redis.hdel(key, holder)
    }
  }
}

/**
 * Which worker should serve each server: every process comes to the same result. Rendezvous hashing, so that few
 * servers move when a worker joins or leaves; no worker gets more than its even share, rounded up.
 * @returns the worker by server
 */
export function shareServers (servers: readonly string[], workers: readonly string[]): Map<string, string> {
  const most = Math.ceil(servers.length / workers.length)
  const counts = new Map<string, number>()
  const shares = new Map<string, string>()
  const pairs = servers.flatMap(server => workers.map(worker =>
    ({ server, worker, weight: createHash('sha1').update(`${server} ${worker}`).digest('hex') })))
  for (const { server, worker } of pairs.sort((one, other) => one.weight < other.weight ? 1 : -1)) {
    const count = counts.get(worker) ?? 0
    if (shares.has(server) || count >= most) continue
    shares.set(server, worker)
    counts.set(worker, count + 1)
  }
  return shares
}

/** How this process shares the servers with the other live workers. */
export interface Spread {
  /** The other live worker that should serve a server and asks for it; or null. */
  heirOf (serverId: string): string | null
  /** Announces this process, and sees which servers the others should serve. To be called each second. */
  again (): void
}

export interface SpreadDependencies {
  readonly roster: WorkerRoster
  /** Whether this process can store images. Other processes that cannot, have no share. */
  readonly isFit: (others: 'fit' | 'failing') => Promise<boolean>
  /** All enabled servers. */
  readonly servers: () => readonly string[]
  /** Whether this process should get a server from the present holder of its lease. */
  readonly asks: (serverId: string) => boolean
  readonly log: Log
}

export function createSpread ({ roster, isFit, servers, asks, log }: SpreadDependencies): Spread {
  /** The holder that should serve each server, and of which servers and workers that follows. */
  let shares = new Map<string, string>()
  let sharedAmong = ''
  /** The servers for which the other live workers ask. */
  let wants = new Map<string, readonly string[]>()
  let isSpreading = false

  async function announce (): Promise<void> {
    const fit = await isFit(roster.others().every(other => other.isFit) ? 'fit' : 'failing')
    await roster.announce(servers().filter(id => shares.get(id) === roster.own && asks(id)), fit)
    wants = new Map(roster.others().filter(other => other.isFit).map(({ holder, wanted }) => [holder, wanted]))
    const among = [servers(), [...(fit ? [roster.own] : []), ...wants.keys()]] as const
    const text = JSON.stringify(among)
    if (text === sharedAmong) return
    shares = shareServers(...among)
    sharedAmong = text
  }

  return {
    heirOf (serverId) {
      const share = shares.get(serverId)
      return share !== undefined && wants.get(share)?.includes(serverId) === true ? share : null
    },
    again () {
      if (isSpreading) return
      isSpreading = true
      announce()
        .catch(error => {
          // Without Redis nothing is known of the others.
          wants = new Map()
          log.debug({ err: error }, 'could not announce this process')
        })
        .finally(() => { isSpreading = false })
    }
  }
}
