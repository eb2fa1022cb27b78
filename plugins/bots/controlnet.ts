import type { FastifyPluginAsync } from 'fastify'
import { JsonOrForm, Ref } from '../../schemas/kit.ts'
import {
  ControlNetModels, ControlNetModules, ControlNetTypes, PreprocessAnswer, PreprocessRequest, PreprocessSettings
} from '../../schemas/bots-extensions.ts'
import { botErrors } from '../../schemas/bots-job.ts'
import { readFields } from '../../src/bots/read-fields.ts'
import { disconnectSignal } from '../core/held-requests.ts'
import { fieldsOfRequest } from './scope.ts'

const looking = { access: { scope: 'models:read' } } as const
const files = { file: 'one', image: 'one', mask: 'one' } as const
const drawing = { access: { scope: 'jobs:write' }, multipart: { files } } as const

/** ControlNet for bots. */
const controlNet: FastifyPluginAsync = async app => {
  const { controlNetService: service, imageReader } = app
  const described = (operationId: string, summary: string) =>
    ({ operationId: `studio_${operationId}`, tags: ['Studio'], summary })

  app.get('/models', {
    config: looking,
    schema: {
      ...described('controlnet_models', 'ControlNet models of all servers'),
      response: { 200: { ...Ref(ControlNetModels), description: 'Empty while no server has ControlNet.' }, ...botErrors() }
    }
  }, async () => ({ models: await service.models() }))

  for (const path of ['modules', 'preprocessors']) {
    app.get(`/${path}`, {
      config: looking,
      schema: {
        ...described(`controlnet_${path}`, 'ControlNet preprocessors of all servers'),
        response: { 200: { ...Ref(ControlNetModules), description: 'Empty while no server has ControlNet.' }, ...botErrors() }
      }
    }, async () => {
      const modules = await service.modules()
      return { modules, preprocessors: modules }
    })
  }

  app.get('/types', {
    config: looking,
    schema: {
      ...described('controlnet_types', 'Which preprocessors and models go together'),
      response: { 200: { ...Ref(ControlNetTypes), description: 'By control type.' }, ...botErrors() }
    }
  }, async () => ({ control_types: await service.types() }))

  app.post('/preprocess', {
    config: drawing,
    schema: {
      ...described('controlnet_preprocess', 'A control map of a picture'),
      description: 'The processor and its settings can be in the query or in the body. A server makes the map; ' +
        'if none can, the status is 200 with `error`.',
      querystring: PreprocessSettings,
      body: JsonOrForm(PreprocessRequest, PreprocessRequest),
      response: { 200: { ...Ref(PreprocessAnswer), description: 'The map, or why there is none.' }, ...botErrors(404, 413, 415, 502) }
    }
  }, async (request, reply) => {
    reply.hold('waiting')
    const body = await fieldsOfRequest(request)
    const given = { ...request.query as object, ...body, file: body.file ?? body.image }
    const { file, mask, processor, preprocessor, ...settings } = readFields(PreprocessRequest, given)
    return await service.preprocess({
      image: await imageReader.open(file, 'file'),
      mask: mask === undefined || mask === null ? null : await imageReader.open(mask, 'mask'),
      module: processor ?? preprocessor ?? 'canny',
      resolution: settings.processor_res ?? 512,
      thresholdA: settings.threshold_a ?? null,
      thresholdB: settings.threshold_b ?? null,
      target: settings.server ?? ''
    }, disconnectSignal(reply))
  })
}

export default controlNet
