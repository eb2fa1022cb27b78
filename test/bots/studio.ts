import sharp from 'sharp'
import type { Test } from 'tap'
import { startSimulator, type SimulatorOptions } from '../../src/simulator/simulator.ts'
import { onNotices, startService, type JsonBody, type Service, type ServiceOptions } from '../helper.ts'
import { startRecorder, type Recorder } from './recorder.ts'

/** The service with one server whose requests are recorded. */
export interface BotService extends Service {
  readonly recorder: Recorder
  /** Submits and waits for the end; returns the job and the server's request. */
  generate (path: string, body: unknown): Promise<Generated>
  /** The bots' view of a job that has ended. */
  ended (jobId: unknown): Promise<JsonBody>
}

export interface Generated {
  readonly answer: JsonBody
  readonly job: JsonBody
  /** The server's request, without the fields that every request of the service has. */
  readonly asked: JsonBody
  /** The path of that request. */
  readonly path: string
}

const fast = { stepMilliseconds: 1, loadMilliseconds: 0 }

export async function startBots (
  t: Test, options: { readonly simulator?: SimulatorOptions, readonly settings?: ServiceOptions['settings'] } = {}
): Promise<BotService> {
  const simulator = await startSimulator({ ...fast, ...options.simulator })
  t.teardown(simulator.close)
  const recorder = await startRecorder(t, simulator.url)
  const service = await startService(t, { servers: { Main: recorder.url }, settings: options.settings ?? {} })

  async function ended (jobId: unknown): Promise<JsonBody> {
    return await onNotices(service.services, async () => {
      const { body } = await service.request('GET', `/jobs/${String(jobId)}`)
      return body.status === 'completed' || body.status === 'failed' ? body : undefined
    })
  }

  return {
    ...service,
    recorder,
    ended,
    async generate (path, body) {
      const before = recorder.generations.length
      const { status, body: answer } = await service.request('POST', path, body)
      if (status !== 200) throw new Error(`not accepted: ${status} ${JSON.stringify(answer)}`)
      const job = await ended(answer.job_id)
      const own = recorder.generations.find(({ body: sent }) => sent.force_task_id === answer.job_id)
      const { path: where = '', body: asked = {} } = own ?? recorder.generations[before] ?? {}
      const { force_task_id: _task, send_images: _send, save_images: _save, ...rest } = asked
      return { answer, job, asked: rest, path: where }
    }
  }
}

/** Few steps of a small image. */
export const small = { user_id: 'ann', prompt: 'a lighthouse', steps: 2, width: 64, height: 64, seed: 7 } as const

/** An image as base64. */
export async function testImage (width: number, height: number, background = '#456'): Promise<string> {
  return (await sharp({ create: { width, height, channels: 3, background } }).png().toBuffer()).toString('base64')
}

type RequestBody = Readonly<Record<string, unknown>>

/**
 * The request without the checkpoint that people selected at the server. A job without a checkpoint names that, unless
 * it gets it in any case.
 */
export function unselected (asked: RequestBody): RequestBody {
  const { override_settings: settings, override_settings_restore_afterwards: restore, ...body } = asked
  const isSelected = JSON.stringify(settings) === '{"sd_model_checkpoint":"dreamscape-v8.safetensors [1b914fb7a1]"}'
  if (!isSelected) return asked
  return restore === false ? body : { ...body, override_settings_restore_afterwards: restore }
}
