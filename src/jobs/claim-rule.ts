/**
 * The rule by which a free server chooses its next job, over plain data. The scripts apply it to Redis; this is the
 * reference that tests compare them with, and the forecast runs it forward. docs/scheduling.md explains it.
 *
 * Each share (an access key, or '' for all callers without one) has a list of its waiting jobs. Start-time fair
 * queueing decides between the shares: each has a tag, the virtual time at which its next job begins. Jobs of the
 * express list go before all shares, and those of the background lane behind all of them: the lane has shares and a
 * virtual time of its own.
 */

/** The list of jobs that an operator put before everybody's. */
export const expressList = '!'
/** In front of the name of a share: that of the same key in the background lane. */
export const laneMark = '~'

export interface WaitingJob {
  readonly id: string
  /** The share that the job is charged to. */
  share: string
  /** The list that it waits in: that of its share, or the express list. */
  list: string
  /** A user of the share, who has a part of it; empty for the share itself. */
  readonly user: string
  priority: number
  /** That of its priority. */
  weight: number
  /** What it needs of a server: jobs of one class can run on the same servers. */
  readonly class: string
  /** Id of the server that it names, if that matters to its arrival. */
  readonly target?: string
  /** Identifies the checkpoint; empty for the server's own. */
  readonly checkpoint: string
  /** Predicted milliseconds, on any server. */
  readonly ms: number
  /** Its place among the jobs of its list. */
  order: number
  /** How often a job behind it was claimed before it. */
  skips: number
}

export interface Share {
  readonly name: string
  weight: number
  /** The virtual time, in seconds, at which its next job begins. */
  tag: number
  /** Its waiting jobs, in their order. */
  readonly jobs: WaitingJob[]
  /** The order that the share has reached, and that of each flow's last job; a flow is a user and a priority. */
  now: number
  readonly flows: Map<string, number>
  /** By id of the server. */
  readonly reached: Map<string, Reached>
}

/** The order of the first job that a server could run in a share when it last claimed one there. */
export interface Reached extends Pick<FreeServer, 'id' | 'canRun'> {
  readonly order: number
}

export interface Lane {
  /** The shares with waiting jobs, by tag. */
  readonly waiting: Share[]
  /** The virtual time: the tag of the share that was next when a server last claimed a job. */
  now: number
}

export interface Pool extends Lane {
  readonly express: WaitingJob[]
  readonly shares: Map<string, Share>
  /** Its jobs yield to all others that a server can run. */
  readonly background: Lane
}

export interface FreeServer {
  readonly id: string
  canRun (job: WaitingJob): boolean
  /** The checkpoint that is loaded. */
  readonly loaded: string
  /** The checkpoint for jobs that name none; empty: whatever is loaded. */
  readonly own: string
  /** What loading a checkpoint takes. */
  readonly loadSeconds: number
  /** How many other live servers have each checkpoint loaded. */
  readonly held: ReadonlyMap<string, number>
}

export interface Patience {
  /** How many later jobs can be claimed before a job. */
  readonly patience: number
  /** The same for the jobs of a share with at most `lightJobs` waiting jobs. */
  readonly lightPatience: number
  readonly lightJobs: number
  /** Another server loads a checkpoint too if the window has more than this many loads of work for each that has it. */
  readonly loads: number
}

export const usualPatience: Patience = { patience: 48, lightPatience: 2, lightJobs: 3, loads: 6 }

export interface Choice {
  readonly server: FreeServer
  readonly job: WaitingJob
  /** The jobs ahead of it, which are passed over. */
  readonly passed: readonly WaitingJob[]
  /** The tag of the share that is first in the window; null for an express job. */
  readonly tag: number | null
  /** The order of the first job of the chosen one's list that the server can run. */
  readonly order: number
}

export function createPool (): Pool {
  return { express: [], shares: new Map(), waiting: [], now: 0, background: { waiting: [], now: 0 } }
}

/** Whether a share or list is of the background lane. */
export function isBackground (share: string): boolean {
  return share.startsWith(laneMark)
}

function laneOf (pool: Pool, { name }: Share): Lane {
  return isBackground(name) ? pool.background : pool
}

/** Jobs of the same order stand by class, work and id, as members of one sorted set do. */
function comesBefore (one: WaitingJob, other: WaitingJob): boolean {
  return one.order === other.order ? memberOf(one) < memberOf(other) : one.order < other.order
}

function memberOf (job: WaitingJob): string {
  return `${job.class}:${job.ms}:${job.weight}:${job.id}`
}

/** Virtual seconds that a job costs its share. */
function costOf (job: WaitingJob, share: Share): number {
  return job.ms / 1000 / (share.weight * job.weight)
}

/**
 * The tag of a share that waits, never in the past: servers that run different classes move the virtual time at
 * different speeds, and newcomers would otherwise wait until the slowest has caught up.
 */
function tagOf (pool: Pool, share: Share): number {
  return Math.max(share.tag, laneOf(pool, share).now)
}

function isAhead (one: Share, other: Share): boolean {
  return one.tag === other.tag ? one.name < other.name : one.tag < other.tag
}

function insertSorted<Item> (items: Item[], item: Item, isBefore: (one: Item, other: Item) => boolean): void {
  let low = 0
  let high = items.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (isBefore(items[middle] as Item, item)) low = middle + 1
    else high = middle
  }
  items.splice(low, 0, item)
}

export function shareOf (pool: Pool, name: string): Share {
  const known = pool.shares.get(name)
  if (known !== undefined) return known
  const share = { name, weight: 1, tag: 0, jobs: [], now: 0, flows: new Map<string, number>(), reached: new Map() }
  pool.shares.set(name, share)
  return share
}

/** Adds to the tag of a share; a negative amount takes back an earlier charge. */
export function charge (pool: Pool, share: Share, amount: number): void {
  share.tag = tagOf(pool, share) + amount
  if (share.jobs.length > 0) sortAgain(pool, share)
}

function sortAgain (pool: Pool, share: Share): void {
  const { waiting } = laneOf(pool, share)
  remove(waiting, share)
  insertSorted(waiting, share, isAhead)
}

function remove<Item> (items: Item[], item: Item): void {
  const at = items.indexOf(item)
  if (at >= 0) items.splice(at, 1)
}

/** Puts a job into its list, at its order. */
export function enter (pool: Pool, job: WaitingJob): void {
  if (job.list === expressList) {
    insertSorted(pool.express, job, comesBefore)
    return
  }
  const share = shareOf(pool, job.list)
  insertSorted(share.jobs, job, comesBefore)
  if (share.jobs.length > 1) return
  share.tag = tagOf(pool, share)
  sortAgain(pool, share)
}

/** Puts a new job into the list of its share: fair between the users, by weight between their priorities. */
export function arrive (pool: Pool, job: WaitingJob): void {
  const share = shareOf(pool, job.share)
  const flow = flowOf(job)
  job.order = Math.max(reachedFor(share, job), share.flows.get(flow) ?? 0) + secondsOf(job)
  share.flows.set(flow, job.order)
  enter(pool, job)
}

function secondsOf (job: WaitingJob): number {
  return job.ms / 1000 / job.weight
}

/**
 * The virtual time of a share for a new job. Servers that run different jobs are at different orders; the job begins
 * where those that can run it are, if others wait there. Otherwise it would wait behind all of these, because another
 * server is further.
 */
function reachedFor (share: Share, job: WaitingJob): number {
  const { now, reached } = share
  if (reached.size === 0) return now
  const { own, first } = job.target === undefined ? atClass(share, job) : atTarget(share, job, job.target)
  return first === undefined ? now : Math.max(own, Math.min(now, first.order - secondsOf(first)))
}

/** What servers have reached, and the first job that waits there. */
interface Front { readonly own: number, readonly first: WaitingJob | undefined }

function atTarget ({ now, reached, jobs }: Share, job: WaitingJob, target: string): Front {
  const server = reached.get(target)
  const own = server?.order ?? 0
  if (own >= now) return { own, first: undefined }
  return { own, first: jobs.find(other => server === undefined ? other.class === job.class : server.canRun(other)) }
}

/** Servers that can run a class have not reached more than its first job. */
function atClass ({ now, reached, jobs }: Share, job: WaitingJob): Front {
  const first = jobs.find(other => other.class === job.class)
  const servers = [...reached.values()].sort((one, other) => other.order - one.order || (one.id < other.id ? -1 : 1))
  if (first === undefined || first.order >= now || servers[0]?.canRun(job) === true) return { own: 0, first: undefined }
  return { own: servers.find(({ order }) => order <= first.order)?.order ?? 0, first }
}

/** A user of a share and the weight of a priority. */
export function flowOf ({ user, weight }: WaitingJob): string {
  return `${user}|${weight}`
}

/** Takes a job out of its list: it was claimed or cancelled. */
export function leave (pool: Pool, job: WaitingJob): void {
  if (job.list === expressList) {
    remove(pool.express, job)
    return
  }
  const share = shareOf(pool, job.list)
  remove(share.jobs, job)
  if (share.jobs.length > 0) return
  remove(laneOf(pool, share).waiting, share)
  share.flows.clear()
  share.reached.clear()
  // A job that is given back later keeps its order; newcomers must not all go ahead of it.
  share.now = Math.max(share.now, job.order)
}

/** A share in a window: its next job there, and its tag after the jobs before that. */
interface OpenShare { readonly share: Share, tag: number, at: number, readonly patience: number }

/**
 * The jobs of a lane among which a server can choose, in the fair order, as far as the patience of those ahead reaches;
 * no further than the first that is wanted.
 */
function windowOf (
  pool: Pool, lane: Lane, server: FreeServer, settings: Patience, isWanted: (job: WaitingJob) => boolean
): WaitingJob[] {
  const window: WaitingJob[] = []
  // The first is next. Shares are opened when their tag is the least, as most windows need few.
  const open: OpenShare[] = []
  let unopened = 0
  for (let reach = 0; window.length <= reach;) {
    while (unopened < lane.waiting.length) {
      const share = lane.waiting[unopened] as Share
      const tag = tagOf(pool, share)
      const first = open[0]
      if (first !== undefined && comesFirst(first.tag, first.share, tag, share)) break
      unopened++
      const at = nextOf(share, 0, server)
      if (at < 0) continue
      const isLight = share.jobs.length <= settings.lightJobs
      open.unshift({ share, tag, at, patience: isLight ? settings.lightPatience : settings.patience })
      break
    }
    const next = open[0]
    if (next === undefined) break
    const job = next.share.jobs[next.at] as WaitingJob
    const end = window.length + Math.max(0, next.patience - job.skips)
    reach = window.length === 0 ? end : Math.min(reach, end)
    window.push(job)
    if (isWanted(job)) break
    next.tag += costOf(job, next.share)
    next.at = nextOf(next.share, next.at + 1, server)
    if (next.at < 0) open.shift()
    else moveBack(open, next)
  }
  return window
}

/** Moves the first, whose tag has risen, to where it belongs. */
function moveBack (open: OpenShare[], first: OpenShare): void {
  let at = 1
  for (; at < open.length; at++) {
    const other = open[at] as OpenShare
    if (comesFirst(first.tag, first.share, other.tag, other.share)) break
    open[at - 1] = other
  }
  open[at - 1] = first
}

/** Shares of one tag in a window go by their own tags. */
function comesFirst (tag: number, share: Share, otherTag: number, other: Share): boolean {
  return tag === otherTag ? isAhead(share, other) : tag < otherTag
}

function nextOf ({ jobs }: Share, from: number, server: FreeServer): number {
  for (let at = from; at < jobs.length; at++) {
    if (server.canRun(jobs[at] as WaitingJob)) return at
  }
  return -1
}

/** The job that a free server claims; null if the pool has none for it. */
export function choose (pool: Pool, server: FreeServer, settings: Patience = usualPatience): Choice | null {
  const express = pool.express.find(job => server.canRun(job))
  if (express !== undefined) return { server, job: express, passed: [], tag: null, order: 0 }
  const isLoaded = (job: WaitingJob) => checkpointOn(job, server) === server.loaded
  const outside = windowOf(pool, pool, server, settings, isLoaded)
  const window = outside.length > 0 ? outside : windowOf(pool, pool.background, server, settings, isLoaded)
  const last = window.at(-1)
  if (last === undefined) return null
  if (checkpointOn(last, server) === server.loaded) return choiceOf(pool, server, window, window.length - 1)
  const work = new Map<string, number>()
  for (const job of window) {
    const checkpoint = checkpointOn(job, server)
    work.set(checkpoint, (work.get(checkpoint) ?? 0) + job.ms / 1000)
  }
  const rank = window.findIndex(job => {
    const checkpoint = checkpointOn(job, server)
    const holders = server.held.get(checkpoint) ?? 0
    return holders === 0 || (work.get(checkpoint) ?? 0) > settings.loads * server.loadSeconds * holders
  })
  return choiceOf(pool, server, window, Math.max(0, rank))
}

export function checkpointOn (job: WaitingJob, { own, loaded }: Pick<FreeServer, 'own' | 'loaded'>): string {
  return job.checkpoint !== '' ? job.checkpoint : own !== '' ? own : loaded
}

function choiceOf (pool: Pool, server: FreeServer, window: readonly WaitingJob[], rank: number): Choice {
  const job = window[rank] as WaitingJob
  const passed = window.slice(0, rank)
  const { order } = passed.find(other => other.list === job.list) ?? job
  return { server, job, passed, tag: tagOf(pool, shareOf(pool, (window[0] as WaitingJob).list)), order }
}

/** Takes the chosen job out of the pool and answers what its share was charged. */
export function claim (pool: Pool, { server, job, passed, tag, order }: Choice): number {
  for (const other of passed) other.skips++
  job.skips = 0
  const share = shareOf(pool, job.share)
  if (tag !== null) {
    // An admin can put a job into the list of another share.
    const list = shareOf(pool, job.list)
    list.now = Math.max(list.now, order)
    const { id } = server
    list.reached.set(id, {
      id, order: Math.max(list.reached.get(id)?.order ?? 0, order), canRun: other => server.canRun(other)
    })
    const lane = laneOf(pool, list)
    lane.now = Math.max(lane.now, tag)
  }
  const amount = costOf(job, share)
  charge(pool, share, amount)
  leave(pool, job)
  return amount
}
