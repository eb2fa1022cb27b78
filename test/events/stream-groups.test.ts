import type { ServerResponse } from 'node:http'
import t from 'tap'
import { openEventStream } from '../../plugins/events/event-stream.ts'
import { createEventViews, streamEvent } from '../../plugins/events/render-event.ts'
import { countStream } from '../../plugins/events/send-soon.ts'
import { createStreamGroups } from '../../plugins/events/stream-groups.ts'
import { administrator, type Principal } from '../../src/access/principal.ts'
import type { ServiceEvent } from '../../src/events/event.ts'
import type { EventListener } from '../../src/events/event-bus.ts'
import { audienceOf } from '../../src/events/filter.ts'

const views = createEventViews({ byId: () => undefined })
const servers = { require: () => ({ id: '' }) }
const all = administrator('local')
const ofKey = (keyId: string): Principal => ({ ...all, kind: 'key', keyId, scopes: new Set(['jobs:read']) })

/** A bus that sends what the test says, and a function that opens a stream and joins. */
function start () {
  const listeners = new Set<EventListener>()
  const groups = createStreamGroups({
    eventBus: {
      listen (listener) {
        listeners.add(listener)
        return () => { listeners.delete(listener) }
      }
    },
    views
  })
  function join (principal: Principal, requested: { kinds?: string } = {}) {
    const stream = openEventStream(views, '', {} as ServerResponse)
    stream.view(streamEvent('ready', '1-0', 'ready'))
    groups.join(stream, audienceOf(requested, principal, servers))
    const kindsOf = (text: string) => [...text.matchAll(/^event: (.*)$/gm)].map(([, kind]) => kind)
    return { ...stream, heard: () => kindsOf(String(stream.body.read() ?? '')) }
  }
  function emit (kind: ServiceEvent['kind'], keyId: string | null = null): void {
    const event = { id: '2-0', kind, jobId: 'one', serverId: null, keyId, status: null, moment: 0, data: {} }
    for (const listener of listeners) listener.onEvent(event)
  }
  const gap = () => { for (const listener of listeners) listener.onGap('9-0') }
  return { join, emit, gap, listening: () => listeners.size }
}

/** Resolves when what is urgent is sent, and everything with it. */
const sent = async () => { await new Promise(resolve => { setImmediate(resolve) }) }

// So many that events wait for others.
const uncounts = Array.from({ length: 500 }, countStream)
t.teardown(() => { for (const uncount of uncounts) uncount() })

t.test('streams get their own messages first, and events from the moment they join', async t => {
  const { join, emit } = start()
  const first = join(all)
  await sent()
  emit('accepted')
  const second = join(all)
  emit('started')
  emit('completed')
  await sent()
  t.strictSame(first.heard(), ['ready', 'accepted', 'started', 'completed'])
  t.strictSame(second.heard(), ['ready', 'started', 'completed'])
})

t.test('streams with other rights or filters are groups of their own', async t => {
  const { join, emit, gap, listening } = start()
  const everything = join(all)
  const [own, same, other, ends] = [join(ofKey('a')), join(ofKey('a')), join(ofKey('b')), join(all, { kinds: 'completed' })]
  t.equal(listening(), 4)
  emit('started', 'a')
  emit('queue')
  emit('completed', 'a')
  await sent()
  t.strictSame(everything.heard(), ['ready', 'started', 'queue', 'completed'])
  t.strictSame(own.heard(), ['ready', 'started', 'completed'])
  t.strictSame(same.heard(), ['ready', 'started', 'completed'])
  t.strictSame(other.heard(), ['ready'])
  t.strictSame(ends.heard(), ['ready', 'completed'])
  gap()
  await sent()
  for (const stream of [everything, own, same, other, ends]) t.strictSame(stream.heard(), ['reset'])
})

t.test('an ended stream has got what waited, and a group without streams listens no more', async t => {
  const { join, emit, listening } = start()
  const first = join(all)
  const second = join(all)
  emit('accepted')
  first.end()
  t.strictSame(first.heard(), ['ready', 'accepted'])
  emit('completed')
  await sent()
  t.strictSame(first.heard(), [])
  t.strictSame(second.heard(), ['ready', 'accepted', 'completed'])
  second.end()
  t.equal(listening(), 0)
  join(all)
  t.equal(listening(), 1)
})
