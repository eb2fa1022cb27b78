import t from 'tap'
import type { ServiceEvent } from '../../src/events/event.ts'
import type { EventListener } from '../../src/events/event-bus.ts'
import type { QueueEstimate } from '../../src/jobs/estimates.ts'
import { startPositionBroadcaster } from '../../src/jobs/position-events.ts'
import { silentLogger } from '../helper.ts'

t.test('the length of a queue is published when it has changed, and again for another listener', async t => {
  let queue: QueueEstimate = { waiting: 1, running: 0, seconds: 4.04 }
  let listened = 1
  let looks = 0
  let wakeUp = () => {}
  const emitted: Array<ServiceEvent['data']> = []
  const listeners = new Set<EventListener>()
  const broadcaster = startPositionBroadcaster({
    eventBus: {
      listen (listener) {
        listeners.add(listener)
        return () => { listeners.delete(listener) }
      },
      listened: () => listened,
      emit ({ kind, data }) { if (kind === 'queue') emitted.push(data) }
    },
    estimates: {
      queue: async () => queue,
      async positions () {
        looks++
        // Once what follows is published.
        setImmediate(() => { wakeUp() })
        return []
      }
    },
    servers: () => ['one'],
    hasListeners: () => true,
    log: silentLogger
  })
  t.teardown(broadcaster.close)

  async function move (): Promise<void> {
    const looked = new Promise<void>(resolve => { wakeUp = resolve })
    const event = { id: '1-0', kind: 'started', jobId: 'job', serverId: 'one', keyId: null, status: 'processing', moment: 0, data: {} }
    for (const { onEvent } of listeners) onEvent(event as ServiceEvent)
    await looked
  }

  await move()
  queue = { waiting: 1, running: 0, seconds: 4.01 }
  await move()
  t.strictSame([looks, emitted], [2, [{ waiting: 1, running: 0, seconds: 4 }]], 'a smaller change than listeners get is none')
  queue = { waiting: 0, running: 1, seconds: 4.01 }
  await move()
  t.match(emitted, [{ waiting: 1 }, { waiting: 0, running: 1 }])
  listened++
  await move()
  t.equal(emitted.length, 3, 'a new listener gets it unchanged')
  for (const { onGap } of listeners) onGap('2-0')
  await move()
  t.equal(emitted.length, 4, 'and so do those that have missed events')
})
