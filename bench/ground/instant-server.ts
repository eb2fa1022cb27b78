import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { json, text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { startSimulator } from '../../src/simulator/simulator.ts'

export interface InstantServerOptions {
  /** Width and height of the picture that every answer holds. */
  readonly size: number
  /** How long each generation takes, in milliseconds. */
  readonly milliseconds: number
}

interface Generated {
  readonly images: readonly string[]
  readonly info: string
}

/**
 * Answers generations like A1111, with nothing to compute: always the same picture, with the seed that was asked
 * for. Everything else it asks a simulator for once and remembers.
 */
export async function startInstantServer ({ size, milliseconds }: InstantServerOptions): Promise<Server> {
  const simulator = await startSimulator({ speed: Infinity, loadMilliseconds: 0, noise: true })
  const { images, info } = await generate(simulator.url, size)
  const beginning = Buffer.from(`{"images":${JSON.stringify(images)},"parameters":`)
  const template = JSON.parse(info) as Record<string, unknown>
  const remembered = new Map<string, Promise<{ status: number, body: string }>>()

  async function ask (request: IncomingMessage): Promise<{ status: number, body: string }> {
    const { method = 'GET', url = '/' } = request
    const body = method === 'GET' ? undefined : await text(request)
    const answer = await fetch(simulator.url + url, {
      method, ...(body === undefined ? {} : { body, headers: { 'content-type': 'application/json' } })
    })
    return { status: answer.status, body: await answer.text() }
  }

  async function answer (request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === 'POST' && request.url === '/sdapi/v1/txt2img') {
      const asked = await json(request) as { seed: number }
      if (milliseconds > 0) await sleep(milliseconds)
      const facts = JSON.stringify({ ...template, seed: asked.seed, all_seeds: [asked.seed] })
      const end = Buffer.from(`${JSON.stringify(asked)},"info":${JSON.stringify(facts)}}`)
      response.writeHead(200, {
        'content-type': 'application/json', 'content-length': beginning.length + end.length
      })
      response.write(beginning)
      response.end(end)
      return
    }
    const key = `${request.method} ${request.url}`
    const known = remembered.get(key) ?? ask(request)
    if (request.method === 'GET') remembered.set(key, known)
    const { status, body } = await known
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }).end(body)
  }

  return createServer((request, response) => {
    answer(request, response).catch(() => { response.destroy() })
  })
}

async function generate (url: string, size: number): Promise<Generated> {
  const answer = await fetch(`${url}/sdapi/v1/txt2img`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'a lighthouse at dusk', steps: 1, width: size, height: size })
  })
  return await answer.json() as Generated
}
