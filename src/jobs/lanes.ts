/**
 * A place in line is (lane, arrival). The same lane is the BullMQ priority of the queue entry, where lower goes
 * first and equal goes by arrival, so the record's line and the queue agree.
 */
const laneWidth = 10

/** Ahead of every priority, for "run now". */
export const runNowLane = 1

/** @param priority 1 to 10, 10 first */
export function laneOf (priority: number): number {
  return (11 - priority) * laneWidth
}

/**
 * The lane of a job that was in line before and enters it again through no fault of its own: ahead of all
 * that came with the same priority.
 */
export function laneOfReturn (lane: number): number {
  return lane <= runNowLane || lane % laneWidth !== 0 ? lane : lane - 1
}
