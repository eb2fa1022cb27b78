import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { json, text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { startSimulator } from '../../src/simulator/simulator.ts'

export interface InstantServerOptions {
  /** How long each generation takes, in milliseconds. */
  readonly milliseconds: number
}

type Asked = Readonly<Record<string, unknown>>

/** An answer with a seed that takes the place of any other. */
interface Answered {
  readonly images: readonly string[]
  readonly info: string
}

const anySeed = 1_234_567_890

/** Ids of finished generations that A1111 remembers. */
const rememberedTasks = 16

/**
 * Answers generations like A1111, with nothing to compute: what the simulator answered to the first such request, with
 * the seed that was asked for. It knows its last tasks, as A1111 does. Everything else it asks a simulator for once and
 * remembers.
 */
export async function startInstantServer ({ milliseconds }: InstantServerOptions): Promise<Server> {
  const simulator = await startSimulator({ speed: Infinity, loadMilliseconds: 0, noise: true })
  const generated = new Map<string, Promise<{ beginning: Buffer, info: string }>>()
  const tasks: string[] = []
  const remembered = new Map<string, Promise<{ status: number, body: string }>>()

  async function generate (asked: Asked): Promise<{ beginning: Buffer, info: string }> {
    const answer = await fetch(`${simulator.url}/sdapi/v1/txt2img`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ ...asked, seed: anySeed })
    })
    const { images, info } = await answer.json() as Answered
    return { beginning: Buffer.from(`{"images":${JSON.stringify(images)},"parameters":`), info: JSON.stringify(info) }
  }

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
      const asked = await json(request) as Asked
      const { seed, force_task_id: task, ...same } = asked
      const key = JSON.stringify(same)
      const answer = generated.get(key) ?? generate(same)
      generated.set(key, answer)
      const { beginning, info } = await answer
      if (milliseconds > 0) await sleep(milliseconds)
      const end = Buffer.from(`${JSON.stringify(asked)},"info":${info.replaceAll(String(anySeed), String(seed))}}`)
      tasks.push(String(task))
      if (tasks.length > rememberedTasks) tasks.shift()
      response.writeHead(200, {
        'content-type': 'application/json', 'content-length': beginning.length + end.length
      })
      response.write(beginning)
      response.end(end)
      return
    }
    if (request.url === '/internal/progress') {
      const { id_task: task } = await json(request) as Asked
      const state = { active: false, queued: false, completed: tasks.includes(String(task)) }
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(state))
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
