import {
  arrive, charge, enter, expressList, isBackground, laneMark, leave, type Pool, shareOf, type WaitingJob
} from '../../src/jobs/claim-rule.ts'
import { weightOf } from '../../src/jobs/job.ts'

/** What else happens to jobs of the pool, over the plain data of the rule: the scripts are compared with it. */

/** Puts a claimed job that did not begin back into its list, at its order. @param charged what the claim charged */
export function giveBack (pool: Pool, job: WaitingJob, charged: number): void {
  charge(pool, shareOf(pool, job.share), -charged)
  enter(pool, job)
}

/** Charges a share what a generation took beyond what its claim was charged. */
export function settle (pool: Pool, job: WaitingJob, seconds: number, charged: number): void {
  const share = shareOf(pool, job.share)
  charge(pool, share, seconds / (share.weight * job.weight) - charged)
}

/** Puts a waiting job first in a list: that of its share, or the express list. */
export function moveFirst (pool: Pool, job: WaitingJob, list: string): void {
  const first = listOf(pool, list)[0]
  if (first === job) return
  leave(pool, job)
  if (first !== undefined) job.order = first.order - 1
  job.list = list
  enter(pool, job)
}

/** Puts a waiting job directly before another one. */
export function moveBefore (pool: Pool, job: WaitingJob, other: WaitingJob): void {
  leave(pool, job)
  const list = listOf(pool, other.list)
  const previous = list[list.indexOf(other) - 1]
  job.order = previous === undefined ? other.order - 1 : (previous.order + other.order) / 2
  job.list = other.list
  enter(pool, job)
}

/** Gives a job that has left its list another priority. */
export function changePriority (pool: Pool, job: WaitingJob, priority: number): void {
  Object.assign(job, { priority, weight: weightOf(priority), list: job.share })
  arrive(pool, job)
}

/** Puts a job that has left its list into the background, or out of it, as if it arrived now. */
export function changeLane (pool: Pool, job: WaitingJob): void {
  job.share = otherLane(job)
  job.list = job.share
  arrive(pool, job)
}

/** The share of the same key in the other lane. */
export function otherLane ({ share }: Pick<WaitingJob, 'share'>): string {
  return isBackground(share) ? share.slice(laneMark.length) : laneMark + share
}

export function listOf (pool: Pool, list: string): readonly WaitingJob[] {
  return list === expressList ? pool.express : shareOf(pool, list).jobs
}
