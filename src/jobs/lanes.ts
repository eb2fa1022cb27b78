/**
 * A place in line is (lane, arrival). The same lane is the BullMQ priority of the queue entry, where lower goes
 * first and equal goes by arrival, so the record's line and the queue agree.
 *
 * Between the lanes of two priorities there is room for jobs that people move. A place is lane × 10¹² + arrival and
 * has to stay an exact double, which is why the room is no larger.
 */
const laneWidth = 500

/** The first of all lanes, which is one that BullMQ takes. */
export const firstLane = 1

/** @param priority 1 to 10, 10 first */
export function laneOf (priority: number): number {
  return (11 - priority) * laneWidth
}

/**
 * The lane of a job that was in line before and enters it again through no fault of its own: ahead of all
 * that came with the same priority.
 */
export function laneOfReturn (lane: number): number {
  return lane % laneWidth !== 0 ? lane : lane - 1
}
