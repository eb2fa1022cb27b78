import { isMissing } from '../a1111/failures.ts'
import { refuseImageAddresses } from '../a1111/images.ts'
import { GenerationFailure } from '../a1111/types.ts'
import { fieldsOf } from '../lib/json-values.ts'
import { ServiceError } from '../lib/errors.ts'
import { withDeadline } from '../lib/deadline.ts'
import type { Server } from '../servers/registry.ts'
import type { ExclusiveCalls } from '../servers/exclusive-calls.ts'
import type { UpstreamClients } from './upstream-clients.ts'

/** Routes that process images without generating. */
export const imageRoutes = ['extra-single-image', 'extra-batch-images', 'interrogate'] as const

export interface PassThrough {
  /**
   * Answer of the best server, or the named one, to a POST as an exclusive call: A1111 itself queues it with
   * generations, so nothing else waits there from here.
   * @throws GenerationFailure, or ServiceError `a1111_unreachable` if no server answers and `server_capability` if it
   * has no such route
   */
  post (path: string, body: unknown, target: string, signal: AbortSignal): Promise<unknown>
  /** Its immediate answer, whatever it is doing. */
  postNow (path: string, body: unknown, target: string): Promise<unknown>
  /** As `post`, to this server. */
  postTo (server: Server, path: string, body: unknown, signal: AbortSignal): Promise<unknown>
}

export interface PassThroughDependencies {
  readonly upstream: UpstreamClients
  readonly exclusiveCalls: Pick<ExclusiveCalls, 'take'>
  readonly timeoutMs: number
  readonly maxAnswerBytes: number
}

/** How long to wait for a server that does not answer, in milliseconds. */
const patienceMs = 5000

const noServer = () => new ServiceError('a1111_unreachable', 'No server answers just now.')

export function createPassThrough (dependencies: PassThroughDependencies): PassThrough {
  const { upstream, exclusiveCalls, timeoutMs, maxAnswerBytes } = dependencies

  async function postTo (server: Server, path: string, body: unknown, signal: AbortSignal): Promise<unknown> {
    const release = await exclusiveCalls.take(server.id, signal)
    try {
      // Not ended by the signal: A1111 continues although no client waits, and nothing else must be sent beside it.
      return await upstream.client(server).postJson(path, body, { timeoutMs, maxAnswerBytes })
    } catch (error) {
      if (!isMissing(error)) throw error
      throw new ServiceError('server_capability', `${server.alias} does not offer ${path.split('?')[0]}.`, {}, { cause: error })
    } finally {
      await release()
    }
  }

  return {
    postTo,
    async postNow (path, body, target) {
      const free = await upstream.free(target)
      if (free === null) throw noServer()
      return await upstream.client(free.server).postJson(path, body)
    },
    async post (path, body, target, signal) {
      const free = await upstream.free(target)
      if (free === null) throw noServer()
      if (free.answers) return await postTo(free.server, path, body, signal)
      // It was possibly only slow at the last check, or comes back at once.
      return await withDeadline(patienceMs, [signal], async (inTime, deadline) =>
        await postTo(free.server, path, body, inTime).catch((error: unknown) => {
          throw error instanceof GenerationFailure || !deadline.expired() ? error : noServer()
        }))
    }
  }
}

/**
 * A1111 would fetch an address in place of an image, from inside its network.
 * @throws ServiceError `invalid_field_value`
 */
export function refuseAddresses (body: unknown): void {
  const { image, imageList, controlnet_input_images: inputs, controlnet_masks: masks } = fieldsOf(body)
  const files = Array.isArray(imageList) ? imageList.map(file => fieldsOf(file).data) : []
  const images = [image, files, inputs, masks].flat().filter(value => typeof value === 'string')
  refuseImageAddresses({ init_images: images })
}
