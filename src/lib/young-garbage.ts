import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Milliseconds without work after which there probably is none for a while. */
const quietAfter = 5
/** Part of the young generation that is worth a collection. */
const worthwhile = 0.5

let collect: ((options: { readonly type: 'minor' }) => void) | undefined

function findCollector (): NonNullable<typeof collect> {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc')
}

/**
 * Collects V8's young generation soon, if it is half full by then. V8 itself does that when it is full, which stops the
 * process for one to three milliseconds: call this where a wait begins whose end is urgent.
 * @returns ends the wait
 */
export function collectWhileWaiting (): () => void {
  const timer = setTimeout(() => {
    const young = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')
    const { space_used_size: used = 0, space_available_size: free = 0 } = young ?? {}
    if (used < worthwhile * (used + free)) return
    collect ??= findCollector()
    collect({ type: 'minor' })
  }, quietAfter)
  return () => { clearTimeout(timer) }
}
