import { EventEmitter, once } from 'node:events'
import { createServer, request as send, type IncomingMessage } from 'node:http'
import type { Test } from 'tap'

interface Recorded {
  readonly path: string
  readonly body: Record<string, unknown>
  /** The body, unchanged. */
  readonly text: string
}

/** A proxy between the service and a server that records its requests. */
export interface Recorder {
  readonly url: string
  /** Bodies of generations in order of arrival, unchanged. */
  readonly generations: readonly Recorded[]
  /** Number of interrupts. */
  interrupts (): number
  /** Holds back the server's answers to generations until the returned function is called. */
  holdAnswers (): () => void
  /** Resolves after this many generations. */
  reached (count: number): Promise<void>
}

/** Passes everything on to `target` and back. */
export async function startRecorder (t: Pick<Test, 'teardown'>, target: string): Promise<Recorder> {
  const generations: Recorded[] = []
  const arrivals = new EventEmitter()
  let interrupts = 0
  let held: Promise<void> = Promise.resolve()
  const server = createServer((incoming, answer) => {
    read(incoming).then(body => {
      const { url = '', method, headers } = incoming
      const isGeneration = method === 'POST' && /\/(txt2img|img2img|extra-batch-images)$/.test(url)
      if (isGeneration) {
        const text = body.toString()
        generations.push({ path: url, text, body: JSON.parse(text) as Record<string, unknown> })
        arrivals.emit('generation')
      }
      if (method === 'POST' && url.endsWith('/interrupt')) interrupts++
      const outgoing = send(target + url, { method, headers }, response => {
        const pass = () => {
          answer.writeHead(response.statusCode ?? 502, response.headers)
          response.pipe(answer)
        }
        if (isGeneration) held.then(pass, pass)
        else pass()
      })
      outgoing.on('error', () => { answer.destroy() })
      answer.on('close', () => { outgoing.destroy() })
      outgoing.end(body)
    }, () => { answer.destroy() })
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    url: `http://127.0.0.1:${port}`,
    generations,
    interrupts: () => interrupts,
    holdAnswers () {
      let release = () => {}
      held = new Promise(resolve => { release = resolve })
      return release
    },
    async reached (count) {
      while (generations.length < count) await once(arrivals, 'generation')
    }
  }
}

async function read (incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}
