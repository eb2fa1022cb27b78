import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { Closed, Ref } from '../../schemas/kit.ts'
import { HashAnswer, HashInfo } from '../../schemas/model-files.ts'
import { AvailabilityView, ModelReference, RescanAnswer } from '../../schemas/model.ts'
import { iso } from '../../src/lib/text.ts'
import { imagesOf } from '../../src/models/images.ts'

const writing = { access: { scope: 'models:write' } } as const

/** Actions on one model's files. */
const modelActions: FastifyPluginAsyncTypebox = async app => {
  const {
    catalogue, modelService: service, modelRefresher: refresher, civitaiImages: images, registry, states,
    modelViews: views
  } = app

  app.post('/api/v1/models/:id/calculate-hash', {
    config: writing,
    schema: {
      operationId: 'models.calculateHash',
      tags: ['Models'],
      summary: 'Hash a model\'s file now',
      description: 'Answers when it has finished, after some seconds for each gigabyte.',
      params: ModelReference,
      response: { 200: { ...Ref(HashAnswer), description: 'The hashes.' }, ...errorResponses(400, 403, 404, 409) }
    }
  }, async (request, reply) => {
    const model = await catalogue.require(request.params.id)
    const left = new AbortController()
    reply.raw.on('close', () => left.abort())
    const begin = performance.now()
    const { sha256, autoV3, size } = await service.calculateHash(model, left.signal)
    return {
      success: true as const,
      message: `${model.filename} was hashed.`,
      hash: sha256,
      hash_autov2: sha256.slice(0, 10),
      hash_autov3: autoV3,
      fileSize: size,
      calculationTime: Math.round(performance.now() - begin)
    }
  })

  app.get('/api/v1/models/:id/hash-info', {
    config: { access: { scope: 'models:read' } },
    schema: {
      operationId: 'models.getHash',
      tags: ['Models'],
      summary: 'Whether a model is hashed, and the effort to hash it',
      params: ModelReference,
      response: { 200: { ...Ref(HashInfo), description: 'What is known.' }, ...errorResponses(403, 404, 409) }
    }
  }, async request => {
    const model = await catalogue.require(request.params.id)
    const existingHash = model.sha256 ?? model.shortHash
    const [file] = model.files
    const seconds = file === undefined ? null : hashSeconds(file.size)
    return {
      success: true as const,
      model: { id: model.id, filename: model.filename, hasHash: existingHash !== null, existingHash },
      fileInfo: {
        size: file === undefined ? null : readableSize(file.size),
        sizeBytes: file?.size ?? null,
        canCalculateHash: file !== undefined,
        reason: file === undefined ? 'Only servers have the file; none of the model folders has it.' : null,
        estimatedTime: seconds,
        estimatedTimeDisplay: seconds === null ? null : `about ${seconds} s`
      }
    }
  })

  app.post('/api/v1/models/:id/rescan', {
    config: writing,
    schema: {
      operationId: 'models.rescan',
      tags: ['Models'],
      summary: 'Read a model\'s header, sidecars and previews again',
      params: ModelReference,
      body: Type.Optional(Type.Union([Closed({
        generateHash: Type.Optional(Type.Boolean({ description: 'Whether to hash the file, too.' })),
        retrieveFromCivitai: Type.Optional(Type.Boolean({ description: 'Whether to ask Civitai, too.' })),
        getPreview: Type.Optional(Type.Boolean({ description: 'Whether to fetch its first picture of Civitai, too.' }))
      }), Type.Null()], { description: 'Further actions; optional.' })),
      response: {
        200: { ...Ref(RescanAnswer), description: 'As it is now.' }, ...errorResponses(400, 403, 404, 409, 502)
      }
    }
  }, async (request, reply) => {
    const { generateHash = false, retrieveFromCivitai = false, getPreview = false } = request.body ?? {}
    const left = new AbortController()
    reply.raw.on('close', () => left.abort())
    let model = await service.rescan(await catalogue.require(request.params.id))
    if (generateHash) await service.calculateHash(model, left.signal)
    if (retrieveFromCivitai) {
      await refresher.refresh(await catalogue.require(String(model.id)), { freshness: 'fresh' })
    }
    model = await catalogue.require(String(model.id))
    const image = getPreview ? imagesOf(model).find(({ from }) => from === 'civitai') : undefined
    if (image?.from === 'civitai') await images.read(image.image.url)
    return {
      success: true as const,
      message: `${model.filename} was read again.`,
      model: views.one(model, request.base),
      operations: {
        hashCalculated: generateHash, civitaiDataFetched: retrieveFromCivitai, previewDownloaded: image !== undefined
      }
    }
  })

  app.get('/api/v1/models/:id/availability', {
    config: { access: { scope: 'models:read' } },
    schema: {
      operationId: 'models.getAvailability',
      tags: ['Models'],
      summary: 'Which servers have a model',
      description: 'As the servers report it.',
      params: ModelReference,
      headers: Type.Object({
        'x-server-id': Type.Optional(Type.String({ maxLength: 64, description: 'Only the server with this alias.' }))
      }),
      response: { 200: { ...Ref(AvailabilityView), description: 'The servers.' }, ...errorResponses(403, 404, 409) }
    }
  }, async request => {
    const alias = request.headers['x-server-id']
    const only = alias === undefined ? undefined : registry.require(alias, 'x-server-id').id
    const { reported } = await catalogue.require(request.params.id)
    const shown = reported.filter(({ serverId }) => only === undefined || serverId === only)
    return {
      success: true as const,
      servers: await Promise.all(shown.map(async ({ serverId, title }) => {
        const readAt = (await states.inventory(serverId))?.readAt
        return {
          server_id: registry.byId(serverId)?.alias ?? serverId,
          title,
          last_seen: iso(readAt)
        }
      }))
    }
  })
}

export default modelActions

/** Bytes that an ordinary disk reads and a core hashes in a second. */
const hashedPerSecond = 250_000_000

function hashSeconds (bytes: number): number {
  return Math.max(1, Math.ceil(bytes / hashedPerSecond))
}

function readableSize (bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3))
  return `${power === 0 ? bytes : (bytes / 1000 ** power).toFixed(1)} ${units[power] ?? ''}`
}
