import type { FastifyPluginAsync, FastifyReply } from 'fastify'
import { ServiceError } from '../../src/errors.ts'
import { assetView, createdAt, isAsset, orderAsset, readKind } from '../../src/sdapi/assets.ts'
import { sendJson } from './call.ts'

/** async-proxy's assets: bringing checkpoints and LoRAs in, and those that are here. Its uploads never existed. */
const assets: FastifyPluginAsync = async app => {
  const { config, catalogue, downloads, civitai } = app
  const reading = { access: { scope: 'models:read' } } as const
  const described = (name: string, summary: string, description = '') =>
    ({ tags: ['A1111'], operationId: `a1111_assets${name}`, summary, ...(description === '' ? {} : { description }) })

  app.post('/assets/download', {
    config: { access: { scope: 'models:write' } },
    schema: described('_download', 'Download a checkpoint or LoRA, as async-proxy does',
      'Takes `kind` (model or lora) and `url`: a page or file at Civitai, a file at HuggingFace, or an AIR. The answer is ' +
      '202 with the `uuid` of a job.')
  }, async (request, reply) => {
    try {
      const { id } = await orderAsset(request.body, {
        downloads, civitai, civitaiUrl: config.CIVITAI_BASE_URL, huggingFaceUrl: config.HUGGINGFACE_BASE_URL
      })
      return sendJson(reply.code(202).header('location', `/sdapi/v1/jobs/${id}`), { uuid: id })
    } catch (error) {
      return refuse(error, reply)
    }
  })

  app.get('/assets', {
    config: reading, schema: described('', 'Checkpoints and LoRAs in the model folders, newest first')
  }, async (request, reply) => {
    try {
      const { kind } = request.query as { kind?: string }
      const wanted = kind === undefined ? null : readKind(kind)
      const found = (await catalogue.state()).models.filter(model => isAsset(model, wanted))
      return sendJson(reply, found.toSorted((one, other) => createdAt(other) - createdAt(one)).map(assetView))
    } catch (error) {
      return refuse(error, reply)
    }
  })

  app.get('/assets/:id', { config: reading, schema: described('_one', 'One of them') }, async (request, reply) => {
    const { id } = request.params as { id: string }
    const found = (await catalogue.state()).models.find(model => String(model.id) === id && isAsset(model, null))
    return found === undefined ? sendJson(reply.code(404), { error: 'Not found' }) : sendJson(reply, assetView(found))
  })
}

export default assets

/** async-proxy's clients read `error`. */
function refuse (error: unknown, reply: FastifyReply): FastifyReply {
  if (!(error instanceof ServiceError) || error.status >= 500) throw error
  return sendJson(reply.code(error.status), { error: error.message })
}
