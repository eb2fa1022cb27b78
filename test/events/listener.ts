import { liveKinds, type EventView } from '../../schemas/event.ts'

const passing = new Set<string>(liveKinds)

/** Kinds of the events, without those whose number depends on timing. */
export function kindsOf (events: readonly EventView[]): Array<EventView['kind']> {
  return events.map(({ kind }) => kind).filter(kind => !passing.has(kind))
}

/** A reader of server-sent events, as strict as a browser. */
export interface Listener {
  readonly status: number
  readonly headers: Headers
  /** All events so far. */
  readonly events: readonly EventView[]
  /** All comments and retry hints so far. */
  readonly asides: readonly string[]
  /** The id that a browser would send when it reconnects. */
  lastEventId (): string
  /** The first event that matches, earlier ones included. @throws Error if the stream ends first */
  until (fits: (event: EventView) => boolean): Promise<EventView>
  untilKind (kind: EventView['kind']): Promise<EventView>
  /** Resolves with all events when the other side has ended the stream. */
  ended (): Promise<readonly EventView[]>
  close (): void
}

export async function listenTo (
  url: string, headers: Readonly<Record<string, string>> = {}
): Promise<Listener> {
  const leaving = new AbortController()
  const response = await fetch(url, { headers, signal: leaving.signal })
  const events: EventView[] = []
  const asides: string[] = []
  let lastEventId = ''
  const state: { over: Error | null } = { over: null }
  let wakeUps: Array<() => void> = []

  function take (block: string): void {
    const lines = block.split('\n')
    const value = (name: string) => lines.find(line => line.startsWith(`${name}: `))?.slice(name.length + 2)
    const id = value('id')
    const data = value('data')
    if (id !== undefined) lastEventId = id
    if (data === undefined) {
      asides.push(block)
      return
    }
    const event = JSON.parse(data) as EventView
    if (event.kind !== value('event')) throw new Error(`${event.kind} is sent as ${value('event')}`)
    if (event.id !== (id ?? null)) throw new Error(`${event.id} is sent as ${id}`)
    events.push(event)
  }

  async function read (): Promise<void> {
    let rest = ''
    const decoder = new TextDecoder()
    for await (const chunk of response.body ?? []) {
      const blocks = (rest + decoder.decode(chunk, { stream: true })).split('\n\n')
      rest = blocks.pop() ?? ''
      blocks.forEach(take)
      wake()
    }
    throw new Error('the stream has ended')
  }

  function wake (): void {
    for (const wakeUp of wakeUps) wakeUp()
    wakeUps = []
  }

  if (response.headers.get('content-type')?.startsWith('text/event-stream')) {
    read().catch(error => {
      state.over = error as Error
      wake()
    })
  } else {
    state.over = new Error(`no stream: ${response.status} ${await response.text()}`)
  }

  async function until (fits: (event: EventView) => boolean): Promise<EventView> {
    for (;;) {
      const found = events.find(fits)
      if (found !== undefined) return found
      if (state.over !== null) throw state.over
      await new Promise<void>(resolve => { wakeUps.push(resolve) })
    }
  }

  return {
    status: response.status,
    headers: response.headers,
    events,
    asides,
    lastEventId: () => lastEventId,
    until,
    untilKind: async kind => await until(event => event.kind === kind),
    async ended () {
      while (state.over === null) await new Promise<void>(resolve => { wakeUps.push(resolve) })
      return events
    },
    close () { leaving.abort() }
  }
}
