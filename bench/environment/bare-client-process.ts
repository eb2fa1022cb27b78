import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { answerParent } from './answer-parent.ts'

export interface BareRun {
  readonly port: number
  readonly path: string
  readonly body: string
  /** Requests, one after the other. */
  readonly times: number
}

/**
 * Sends a prepared request over and over, each over a connection that it opened meanwhile, at once when the answer
 * before is whole. It keeps nothing and reads nothing of an answer but its length, so that nothing can be faster here.
 */
answerParent({
  async run (value) {
    const { port, path, body, times } = value as BareRun
    const request = `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
    let next = await open(port)
    for (let sent = 0; sent < times; sent++) {
      const socket = next
      const whole = answerOf(socket)
      socket.write(request)
      next = await open(port)
      await whole
      // Not before the next request is on its way.
      setImmediate(() => { socket.destroy() })
    }
    next.destroy()
  }
}, () => process.exit())

async function open (port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  return socket
}

/** Resolves when all bytes of the answer are there. @throws Error if the answer has no length, or is no 200 */
async function answerOf (socket: Socket): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    let head = ''
    let left: number | undefined
    socket.once('error', reject).once('close', () => { reject(new Error('The server closed the connection.')) })
    socket.on('data', (chunk: Buffer) => {
      let rest = chunk
      if (left === undefined) {
        const before = head.length
        head += chunk.toString('latin1')
        const ends = head.indexOf('\r\n\r\n')
        if (ends === -1) return
        left = Number(/^content-length: *(\d+)/im.exec(head.slice(0, ends))?.[1])
        if (Number.isNaN(left) || !head.startsWith('HTTP/1.1 200 ')) reject(new Error(head.slice(0, ends)))
        rest = chunk.subarray(ends + 4 - before)
      }
      left -= rest.length
      if (left <= 0) resolve()
    })
  })
}
