import { constants, PerformanceObserver } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { collectWhileWaiting } from '../../src/lib/young-garbage.ts'

/** An entry of Node's observer about a collection; its types lack the details. */
interface Collection {
  readonly detail: { readonly kind: number, readonly flags: number }
}

t.test('young garbage is collected while something waits', async t => {
  const seen: Collection[] = []
  const isRequested = ({ detail: { kind, flags } }: Collection) =>
    kind === constants.NODE_PERFORMANCE_GC_MINOR && (flags & constants.NODE_PERFORMANCE_GC_FLAGS_FORCED) !== 0
  const observer = new PerformanceObserver(list => { seen.push(...list.getEntries() as unknown as Collection[]) })
  observer.observe({ entryTypes: ['gc'] })
  t.teardown(() => { observer.disconnect() })
  let garbage: unknown[] = []
  while (!seen.some(isRequested)) {
    garbage = Array.from({ length: 10_000 }, (_none, index) => ({ index, text: `garbage ${index}` }))
    const stop = collectWhileWaiting()
    await sleep(10)
    stop()
  }
  t.equal(garbage.length, 10_000, 'what is in use stays')
})
