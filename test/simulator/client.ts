import { Agent, fetch, type Headers, type RequestInit } from 'undici'
import { startSimulator, type Simulator, type SimulatorOptions } from '../../src/simulator/simulator.ts'

export type Json = Record<string, unknown>

export interface Reply {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly json: Json
}

/** A running simulator and the few calls that tests make. */
export interface Bench {
  readonly simulator: Simulator
  get (path: string, headers?: Record<string, string>): Promise<Reply>
  post (path: string, body?: unknown, headers?: Record<string, string>): Promise<Reply>
  /** POST of txt2img with a small image and few steps unless the request has others. */
  txt2img (request?: Json, headers?: Record<string, string>): Promise<Reply>
  /** Polls the global progress until it matches. */
  untilProgress (fits: (progress: Json, state: Json) => boolean): Promise<Json>
}

/** Starts a simulator without pauses, which ends with the test. */
export async function startBench (
  t: { teardown: (close: () => Promise<void>) => void }, options: SimulatorOptions = {}
): Promise<Bench> {
  const simulator = await startSimulator({ stepMilliseconds: 0, ...options })
  t.teardown(async () => { await simulator.close() })

  async function call (path: string, init: RequestInit): Promise<Reply> {
    // A new connection for each request, because a simulated crash ends idle ones.
    const dispatcher = new Agent()
    try {
      const answer = await fetch(simulator.url + path, { ...init, dispatcher })
      const text = await answer.text()
      return { status: answer.status, headers: answer.headers, text, json: readJson(text) }
    } finally {
      await dispatcher.destroy()
    }
  }

  async function post (path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Reply> {
    return await call(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      ...body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }
    })
  }

  return {
    simulator,
    get: async (path, headers = {}) => await call(path, { headers }),
    post,
    txt2img: async (request = {}, headers = {}) => await post('/sdapi/v1/txt2img', small(request), headers),
    async untilProgress (fits) {
      for (;;) {
        const { json } = await call('/sdapi/v1/progress', {})
        if (fits(json, json.state as Json)) return json
      }
    }
  }
}

/** A request that takes almost no time. */
export function small (request: Json = {}): Json {
  return { prompt: 'a lighthouse at dusk', seed: 123, width: 64, height: 64, steps: 6, sampler_name: 'Euler a', ...request }
}

/** The images of an answer, decoded from base64. */
export function imagesOf (reply: Reply): Buffer[] {
  return (reply.json.images as string[]).map(image => Buffer.from(image, 'base64'))
}

export function infoOf (reply: Reply): Json {
  return readJson(String(reply.json.info))
}

function readJson (text: string): Json {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value as Json : { value }
  } catch {
    return {}
  }
}
