import { refuseImageAddresses } from '../a1111/images.ts'
import { fieldsOf } from '../a1111/json-values.ts'
import { ServiceError } from '../errors.ts'
import { createGate, type Gate } from '../jobs/gate.ts'
import type { Server } from '../servers/server.ts'
import type { ServerFaces } from './faces.ts'

/** Routes that work on pictures without being generations. */
export const pictureRoutes = ['extra-single-image', 'extra-batch-images', 'interrogate'] as const

/** Routes that change or stop a server; closed unless the setting SDAPI_OPEN_ROUTES names them. */
export const dangerousRoutes = [
  'unload-checkpoint', 'reload-checkpoint', 'server-restart', 'server-stop', 'server-kill',
  'create/embedding', 'create/hypernetwork', 'train/embedding', 'train/hypernetwork'
] as const

export interface PassThrough {
  /**
   * What a server answers to a POST, once those before it are through. A1111 itself puts it in line with what it
   * generates, so from here no more than one stands there.
   * @throws GenerationFailure, or ServiceError `a1111_unreachable` where no server answers
   */
  post (path: string, body: unknown, target: string, signal: AbortSignal): Promise<unknown>
}

export interface PassThroughDependencies {
  readonly faces: ServerFaces
  readonly timeoutMs: number
  readonly maxAnswerBytes: number
}

export function createPassThrough ({ faces, timeoutMs, maxAnswerBytes }: PassThroughDependencies): PassThrough {
  const gates = new Map<string, Gate>()

  function gateOf ({ id }: Server): Gate {
    const gate = gates.get(id) ?? createGate()
    gates.set(id, gate)
    return gate
  }

  return {
    async post (path, body, target, signal) {
      const [server] = await faces.reachable(target)
      if (server === undefined) throw new ServiceError('a1111_unreachable', 'No server answers just now.')
      const leave = await gateOf(server).enter(signal)
      try {
        return await faces.client(server).postJson(path, body, { timeoutMs, maxAnswerBytes })
      } finally {
        leave()
      }
    }
  }
}

/**
 * A1111 would fetch an address that stands for a picture, from inside its network.
 * @throws ServiceError `invalid_field_value`
 */
export function refuseAddresses (body: unknown): void {
  const { image, imageList, controlnet_input_images: inputs, controlnet_masks: masks } = fieldsOf(body)
  const files = Array.isArray(imageList) ? imageList.map(file => fieldsOf(file).data) : []
  const pictures = [image, files, inputs, masks].flat().filter(picture => typeof picture === 'string')
  refuseImageAddresses({ init_images: pictures })
}
