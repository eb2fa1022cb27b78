import t from 'tap'
import { repeatEach, secondsUntilBeat } from '../../src/lib/beat.ts'

t.test('all that repeats runs in the same turn of the event loop, until it is ended', async t => {
  const turns: string[] = []
  let turn = 0
  // The timers of beats keep no process alive.
  const running = setInterval(() => {}, 1000)
  t.teardown(() => { clearInterval(running) })
  const stops: Array<() => void> = []
  await new Promise<void>(resolve => {
    const note = (name: string) => {
      if (turns.length === 0) setImmediate(() => { turn++ })
      turns.push(`${name} in turn ${turn}`)
    }
    stops.push(
      repeatEach(1, () => { note('first') }),
      repeatEach(3600, () => { note('in an hour') }),
      repeatEach(1, () => {
        note('second')
        resolve()
      })
    )
  })
  t.same(turns, ['first in turn 0', 'second in turn 0'])
  for (const stop of stops) stop()

  turns.length = 0
  await new Promise<void>(resolve => {
    const stop = repeatEach(1, () => {
      stop()
      resolve()
    })
  })
  t.same(turns, [], 'what was ended runs no more')
})

t.test('waits can end with a beat', t => {
  for (const seconds of [1, 10, 15]) {
    const left = secondsUntilBeat(seconds)
    t.ok(left > 0 && left <= seconds * 1.1, `${left} of ${seconds} s`)
    const end = (performance.now() / 1000 + left) / seconds
    t.ok(Math.abs(end - Math.round(end)) < 0.05, 'the end is a multiple on the clock of this process')
  }
  t.end()
})
