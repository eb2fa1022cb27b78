import { createServer, request as send, type IncomingMessage } from 'node:http'
import type { Test } from 'tap'

/** Stands between the service and a server, and keeps what the server is asked. */
export interface Recorder {
  readonly url: string
  /** Bodies of generations in the order in which they came, as they came. */
  readonly generations: ReadonlyArray<{ readonly path: string, readonly body: Record<string, unknown> }>
}

/** Passes everything on to `target` and back. */
export async function startRecorder (t: Pick<Test, 'teardown'>, target: string): Promise<Recorder> {
  const generations: Array<{ path: string, body: Record<string, unknown> }> = []
  const server = createServer((incoming, answer) => {
    read(incoming).then(body => {
      const { url = '', method, headers } = incoming
      if (method === 'POST' && /\/(txt2img|img2img|extra-batch-images)$/.test(url)) {
        generations.push({ path: url, body: JSON.parse(body.toString()) as Record<string, unknown> })
      }
      const outgoing = send(target + url, { method, headers }, response => {
        answer.writeHead(response.statusCode ?? 502, response.headers)
        response.pipe(answer)
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
  return { url: `http://127.0.0.1:${port}`, generations }
}

async function read (incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}
