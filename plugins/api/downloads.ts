import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import {
  CivitaiDownloadRequest, DownloadAnswer, DownloadList, DownloadRequest, DownloadStarted, type DownloadView
} from '../../schemas/download.ts'
import { errorResponses } from '../../schemas/error.ts'
import { Done } from '../../schemas/job.ts'
import { Closed, Ref } from '../../schemas/kit.ts'
import type { Download } from '../../src/models/download.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { iso } from '../../src/lib/text.ts'

const reading = { access: { scope: 'models:read', bucket: 'status' } } as const
const changing = { access: { scope: 'models:write' } } as const
const Reference = Type.Object({ id: Type.String({ maxLength: 64, description: 'The download.' }) })
const tags = ['Models']

/** Downloads of models from Civitai and HuggingFace into the model folders. */
const downloadRoutes: FastifyPluginAsyncTypebox = async app => {
  const { downloads } = app
  const started = {
    202: { ...Ref(DownloadStarted), description: 'It waits for its turn.' }, ...errorResponses(400, 403, 404, 409, 502)
  }

  app.post('/api/v1/civitai/download-model', {
    config: changing,
    schema: { operationId: 'civitai.download', tags, summary: 'Download a model from Civitai', body: CivitaiDownloadRequest, response: started }
  }, async (request, reply) => {
    const { civitaiModelVersionId, targetType, filenameOverride } = request.body
    reply.code(202)
    const requested = requestOf(targetType, filenameOverride)
    return startedView(await downloads.fromCivitai(Number(civitaiModelVersionId), requested))
  })

  for (const path of ['/api/v1/downloads', '/api/v1/downloads/queue']) {
    app.post(path, {
      config: changing,
      schema: {
        operationId: 'downloads.add',
        tags,
        summary: 'Download a model',
        description: 'From Civitai by version, or from HuggingFace. Goes on where it broke off, and gets its name only ' +
          'when its size and, if the source reports one, its SHA-256 are right.',
        body: DownloadRequest,
        response: started
      }
    }, async (request, reply) => {
      const { source, modelVersionId, type, targetFilename, filename = targetFilename } = request.body
      const requested = requestOf(type, filename)
      reply.code(202)
      if (source !== undefined) return startedView(await downloads.fromHuggingFace(source, requested))
      if (modelVersionId !== undefined) {
        return startedView(await downloads.fromCivitai(Number(modelVersionId), requested))
      }
      throw new ServiceError('missing_required_field', 'Give source, such as hf:owner/repository/file.safetensors, or modelVersionId.',
        { field: 'source' })
    })

    app.get(path, {
      config: reading,
      schema: {
        operationId: 'downloads.list',
        tags,
        summary: 'List downloads',
        response: { 200: { ...Ref(DownloadList), description: 'The newest thousand.' }, ...errorResponses(403) }
      }
    }, async () => {
      const all = (await downloads.store.list()).map(view)
      const of = (...states: Array<DownloadView['status']>) => all.filter(({ status }) => states.includes(status))
      return {
        success: true as const,
        downloads: all,
        queue: {
          activeDownloads: of('downloading'),
          pendingDownloads: of('pending'),
          completedDownloads: of('completed'),
          failedDownloads: of('failed', 'cancelled')
        }
      }
    })

    app.delete(`${path}/:id`, {
      config: changing,
      schema: {
        operationId: 'downloads.cancel',
        tags,
        summary: 'Cancel a download',
        params: Reference,
        response: { 200: { ...Ref(Done), description: 'Cancelled.' }, ...errorResponses(403, 404, 409) }
      }
    }, async request => {
      await downloads.cancel(request.params.id)
      return { success: true as const, message: 'The download was cancelled.' }
    })

    app.post(`${path}/:id/retry`, {
      config: changing,
      schema: {
        operationId: 'downloads.retry',
        tags,
        summary: 'Begin a failed or cancelled download again',
        params: Reference,
        response: { 200: { ...Ref(Done), description: 'It waits again.' }, ...errorResponses(403, 404, 409) }
      }
    }, async request => {
      await downloads.retry(request.params.id)
      return { success: true as const, message: 'The download waits for its turn.' }
    })
  }

  app.post('/api/v1/downloads/cleanup', {
    config: changing,
    schema: {
      operationId: 'downloads.cleanUp',
      tags,
      summary: 'Forget old downloads',
      description: 'Finished ones; their files stay.',
      body: Type.Optional(Type.Union([Closed({
        daysToKeep: Type.Optional(Type.Number({ minimum: 0, maximum: 36_500, default: 7, description: 'Days since they finished.' }))
      }), Type.Null()], { description: 'What to keep.' })),
      response: {
        200: Type.Object({
          success: Type.Literal(true, { description: 'Always true.' }),
          deletedCount: Type.Integer({ description: 'How many were forgotten.' })
        }, { description: 'What was done.' }),
        ...errorResponses(400, 403)
      }
    }
  }, async request => {
    const days = request.body?.daysToKeep ?? 7
    const deletedCount = await downloads.store.forgetEndedBefore(Date.now() - days * 86_400_000)
    return { success: true as const, deletedCount }
  })

  app.get('/api/v1/downloads/:id', {
    config: reading,
    schema: {
      operationId: 'downloads.get',
      tags,
      summary: 'One download',
      params: Reference,
      response: { 200: { ...Ref(DownloadAnswer), description: 'The download.' }, ...errorResponses(403, 404) }
    }
  }, async request => ({ success: true as const, download: view(await downloads.store.require(request.params.id)) }))
}

export default downloadRoutes

function requestOf (type: Download['type'] | undefined, filename: string | undefined) {
  return { ...(type === undefined ? {} : { type }), ...(filename === undefined ? {} : { filename }) }
}

function startedView ({ id, modelName, type, filename }: Download) {
  return {
    success: true as const,
    message: `${filename} waits to be downloaded.`,
    downloadId: id,
    modelName,
    type,
    filename
  }
}

function view (download: Download): DownloadView {
  const { size, received } = download
  return {
    id: download.id,
    status: download.status,
    source: download.source,
    model_name: download.modelName,
    model_version_id: download.versionId,
    type: download.type,
    target_filename: download.filename,
    bytes_received: received,
    bytes_total: size,
    progress: download.status === 'completed' ? 100 : size === null || size === 0 ? 0 : Math.round(received / size * 1000) / 10,
    error_message: download.problem,
    created_at: iso(download.createdAt),
    completed_at: iso(download.endedAt)
  }
}
