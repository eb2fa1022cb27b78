import { get, type ClientRequest } from 'node:http'
import type { EventView } from '../../schemas/event.ts'

/** One connection that listens to server-sent events. */
export interface EventReader {
  /** Resolves when it has ended, from whichever side; rejects where there never was a stream. */
  readonly ended: Promise<void>
  close (): void
}

/** @param heard called with each event as it arrives */
export function readEvents (url: string, lastEventId: string, heard: (event: EventView) => void): EventReader {
  let request: ClientRequest | undefined
  const ended = new Promise<void>((resolve, reject) => {
    request = get(url, { agent: false, headers: lastEventId === '' ? {} : { 'last-event-id': lastEventId } }, response => {
      if (response.statusCode !== 200) {
        response.resume()
        return reject(new Error(`no stream but ${response.statusCode}`))
      }
      let rest = ''
      response.setEncoding('utf8')
      response.on('data', (text: string) => {
        const blocks = (rest + text).split('\n\n')
        rest = blocks.pop() ?? ''
        for (const block of blocks) {
          const data = /^data: (.*)$/m.exec(block)?.[1]
          if (data !== undefined) heard(JSON.parse(data) as EventView)
        }
      })
      // Whoever is cut off comes back, so it does not matter why.
      response.on('error', () => {})
      response.on('close', resolve)
    })
    request.on('error', reject)
  })
  return { ended, close () { request?.destroy() } }
}
