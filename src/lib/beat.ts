/** Milliseconds between two beats of this process. */
const beat = 1000
/** Part of a beat by which a timer can fire too early. */
const early = 0.1

/** Something that repeats, and the number of the beat at which it is due. */
interface Repeated {
  readonly beats: number
  dueAt: number
  readonly work: () => void
}

const repeated = new Set<Repeated>()
let timer: NodeJS.Timeout | undefined

/** The number of the last beat, by the monotonic clock. */
const lastBeat = () => Math.floor(performance.now() / beat + early)
const nextMultiple = (beats: number) => (Math.floor(lastBeat() / beats) + 1) * beats

function run (): void {
  const now = lastBeat()
  schedule()
  for (const one of repeated) {
    if (now < one.dueAt) continue
    one.dueAt = nextMultiple(one.beats)
    one.work()
  }
}

function schedule (): void {
  timer = setTimeout(run, (lastBeat() + 1) * beat - performance.now())
  timer.unref()
}

/**
 * Repeats something each so many seconds, in the same turn of the event loop as everything else that repeats: a process
 * without work wakes up less often, and sends the commands of all of it to Redis together. Does not keep the process
 * alive.
 * @param seconds a whole number
 * @param work must not throw
 * @returns ends it
 */
export function repeatEach (seconds: number, work: () => void): () => void {
  const beats = seconds * 1000 / beat
  const one = { beats, dueAt: nextMultiple(beats), work }
  repeated.add(one)
  if (timer === undefined) schedule()
  return () => {
    repeated.delete(one)
    if (repeated.size > 0) return
    clearTimeout(timer)
    timer = undefined
  }
}

/** Seconds until what repeats each so many seconds is due next. */
export function secondsUntilBeat (seconds: number): number {
  const beats = seconds * 1000 / beat
  return (nextMultiple(beats) * beat - performance.now()) / 1000
}
