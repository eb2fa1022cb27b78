import type { Failures, Group, Groups, ListedJob, WholeQueue } from './api-types.ts'
import { ask } from './api.ts'
import { queryOf } from './query.ts'
import { rowsOf } from './service.ts'

/** The routes of the queue of all servers. */

/** A part of the queue, with its jobs in the form of all lists. */
export interface QueuePart extends Pick<WholeQueue, 'as_of' | 'enabled' | 'total_waiting' | 'total_running'> {
  readonly running: readonly ListedJob[]
  readonly waiting: readonly ListedJob[]
  readonly groups: ReadonlyMap<string, Group>
}

/** @param query server: empty for all; limit and offset count waiting jobs */
export async function readQueue (
  query: { server: string, limit: number, offset?: number }, signal: AbortSignal
): Promise<QueuePart> {
  const found = await ask<WholeQueue>('GET', `/api/v2/queue?${queryOf(query)}`, { signal })
  return {
    ...found,
    running: rowsOf(found.running),
    waiting: rowsOf(found.waiting),
    groups: new Map(found.groups.map(group => [group.id, group]))
  }
}

/** Failed jobs by cause. @param server empty: of all servers */
export const readFailures = (server: string, signal: AbortSignal) =>
  ask<Failures>('GET', `/api/v2/failures?${queryOf({ server })}`, { signal })

/** Groups that one request can name. */
const groupsAtOnce = 50

/** How far the groups of these jobs are, by their ids; without a request if there are none. */
export async function readGroups (
  of: ReadonlyArray<ListedJob | undefined>, signal: AbortSignal
): Promise<ReadonlyMap<string, Group>> {
  const ids = [...new Set(of.flatMap(job => job?.group ?? []))].slice(0, groupsAtOnce)
  if (ids.length === 0) return new Map()
  const { groups } = await ask<Groups>('GET', `/api/v2/groups?${new URLSearchParams(ids.map(id => ['id', id]))}`, { signal })
  return new Map(groups.map(group => [group.id, group]))
}
