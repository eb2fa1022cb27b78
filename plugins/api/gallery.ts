import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { errorResponses } from '../../schemas/error.ts'
import {
  type GalleryImageView, GalleryQuery, GalleryView, ImagesDeleted, ImageSelection, PlainGallery, PlainImageInfo,
  ZipAnswer, ZipRequest
} from '../../schemas/gallery.ts'
import { Done } from '../../schemas/job.ts'
import { Ref } from '../../schemas/kit.ts'
import { keyToShow, mayCancelJob, maySeeJob, seesAllJobs } from '../../src/access/principal.ts'
import { checkpointOf, type GalleryImage, noSuchZip } from '../../src/jobs/gallery.ts'
import { aliasOf } from '../../src/jobs/job.ts'
import { ignoring, ServiceError } from '../../src/lib/errors.ts'
import { seedText } from '../../src/lib/seeds.ts'
import { iso } from '../../src/lib/text.ts'
import { isOutputName } from '../../src/media/output-formats.ts'
import { momentOf } from './job-views.ts'
import { outputUrl, thumbnailUrl } from './render-job.ts'

const tags = ['Images']
const reading = { access: { scope: 'images:read' } } as const
const changing = { access: { scope: 'jobs:write' } } as const
const ImageName = Type.Object({ filename: Type.String({ maxLength: 255, description: 'Name under /outputs/.' }) })
const ZipId = Type.Object({ id: Type.String({ maxLength: 64, description: 'The zip.' }) })

/** The images of all jobs: listed, searched, deleted, fetched in bulk. A key sees those of its own jobs. */
const galleryRoutes: FastifyPluginAsyncTypebox = async app => {
  const { gallery, zips, registry } = app

  function view ({ image, job }: GalleryImage, base: string): GalleryImageView {
    const { prompt } = job.submission.parameters
    return {
      filename: image.name,
      url: outputUrl(image.name, base),
      thumbnail_url: thumbnailUrl(image.name, base),
      mime: image.mime,
      width: image.width,
      height: image.height,
      bytes: image.bytes,
      seed: image.seed,
      seed_text: seedText(image.seed),
      role: image.role,
      job_id: job.id,
      accepted_at: iso(job.createdAt),
      created_at: iso(job.endedAt ?? job.updatedAt),
      prompt: typeof prompt === 'string' ? prompt : '',
      checkpoint: checkpointOf(job),
      server: aliasOf(registry, job.serverId),
      api_key_id: job.keyId
    }
  }

  /** Another's image is answered as not found. */
  async function find (request: FastifyRequest, name: string, allowed: typeof maySeeJob): Promise<GalleryImage> {
    if (!isOutputName(name)) {
      throw new ServiceError('invalid_field_value',
        'filename must be the name of an image, as it is listed, without any folder.', { field: 'filename' })
    }
    const found = await gallery.find(name)
    if (allowed(request.principal, found.job.keyId)) return found
    throw new ServiceError('image_not_found', 'There is no image of this name; it was possibly deleted with its job.')
  }

  app.get('/api/v1/gallery', {
    config: reading,
    schema: {
      operationId: 'gallery.list',
      tags,
      summary: 'List and search images',
      description: 'Newest job first. With search or model a page can be short although there is a `next_cursor`.',
      querystring: GalleryQuery,
      response: { 200: { ...Ref(GalleryView), description: 'One page.' }, ...errorResponses(400, 403, 404) }
    }
  }, async request => {
    const { search, model, server, key, since, until, role = 'image', limit = 60, cursor } = request.query
    const keyId = keyToShow(request.principal, key)
    const { images, nextCursor } = await gallery.page({
      limit,
      ...(keyId === undefined ? {} : { keyId }),
      ...(server === undefined ? {} : { serverId: registry.require(server, 'server').id }),
      ...(search === undefined ? {} : { text: search }),
      ...(model === undefined ? {} : { model }),
      ...(since === undefined ? {} : { since: momentOf('since', since) }),
      ...(until === undefined ? {} : { until: momentOf('until', until) }),
      ...(role === 'any' ? {} : { role }),
      ...(cursor === undefined ? {} : { cursor })
    })
    const views = images.map(image => view(image, request.base))
    return { success: true as const, count: images.length, images: views, next_cursor: nextCursor }
  })

  app.get('/api/v1/gallery/images', {
    config: reading,
    schema: {
      operationId: 'gallery.listImages',
      tags,
      summary: 'List images, as StableQueue always did',
      querystring: Type.Object({
        limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, default: 10_000, description: 'Images a page, about.' })),
        cursor: GalleryQuery.properties.cursor
      }),
      response: { 200: { ...Ref(PlainGallery), description: 'The images.' }, ...errorResponses(400, 403) }
    }
  }, async request => {
    const { limit = 10_000, cursor } = request.query
    const keyId = keyToShow(request.principal, undefined)
    const [total, { images, nextCursor }] = await Promise.all([
      gallery.count(keyId),
      gallery.page({ limit, ...(keyId === undefined ? {} : { keyId }), ...(cursor === undefined ? {} : { cursor }) })
    ])
    return { total, images: images.map(plainView), next_cursor: nextCursor }
  })

  app.get('/api/v1/gallery/images/:filename/info', {
    config: reading,
    schema: {
      operationId: 'gallery.getImage',
      tags,
      summary: 'One image, in StableQueue\'s older form',
      params: ImageName,
      response: { 200: { ...Ref(PlainImageInfo), description: 'The image.' }, ...errorResponses(400, 403, 404) }
    }
  }, async request => {
    const found = await find(request, request.params.filename, maySeeJob)
    return { ...plainView(found), url: outputUrl(found.image.name, request.base), job_id: found.job.id }
  })

  app.delete('/api/v1/gallery/images/:filename', {
    config: changing,
    schema: {
      operationId: 'gallery.deleteImage',
      tags,
      summary: 'Delete an image',
      description: 'With its thumbnail. The job that made it stays.',
      params: ImageName,
      response: { 200: { ...Ref(Done), description: 'Deleted.' }, ...errorResponses(400, 403, 404) }
    }
  }, async request => {
    await gallery.remove(await find(request, request.params.filename, mayCancelJob))
    return { success: true as const, message: 'The image was deleted.' }
  })

  app.post('/api/v1/gallery/delete', {
    config: changing,
    schema: {
      operationId: 'gallery.deleteImages',
      tags,
      summary: 'Delete many images',
      description: 'With their thumbnails. The jobs that made them stay.',
      body: Ref(ImageSelection),
      response: { 200: { ...Ref(ImagesDeleted), description: 'Done, as far as they were there.' }, ...errorResponses(400, 403) }
    }
  }, async request => {
    const deleted: string[] = []
    const missing: string[] = []
    for (const name of request.body.filenames) {
      const isDone = await find(request, name, mayCancelJob).then(gallery.remove)
        .then(() => true, ignoring('image_not_found', 'invalid_field_value'))
      if (isDone) deleted.push(name)
      else missing.push(name)
    }
    const message = `${deleted.length} image${deleted.length === 1 ? ' was' : 's were'} deleted.`
    return { success: true as const, message, deleted, missing }
  })

  app.post('/api/v1/gallery/zips', {
    config: reading,
    schema: {
      operationId: 'gallery.orderZip',
      tags,
      summary: 'Ask for many images as one zip',
      description: 'Answers with an address to fetch it from; the zip is made while it is fetched.',
      body: Ref(ZipRequest),
      response: { 201: { ...Ref(ZipAnswer), description: 'It can be fetched.' }, ...errorResponses(400, 403, 404, 413) }
    }
  }, async (request, reply) => {
    const { filenames, parameters = false } = request.body
    const images: GalleryImage[] = []
    for (const name of filenames) images.push(await find(request, name, maySeeJob))
    const contents = parameters ? 'images and parameters' : 'images'
    const { id, bytes, expiresAt } = await zips.order({
      names: filenames, contents, keyId: request.principal.keyId
    }, images)
    reply.code(201)
    return {
      success: true as const,
      id,
      url: `${request.base}/api/v1/gallery/zips/${id}`,
      count: images.length,
      bytes,
      expires_at: iso(expiresAt)
    }
  })

  app.get('/api/v1/gallery/zips/:id', {
    config: reading,
    schema: {
      operationId: 'gallery.getZip',
      tags,
      summary: 'Fetch many images as one zip',
      params: ZipId,
      response: {
        200: {
          description: 'The zip. missing.txt lists images that were deleted meanwhile.',
          content: { 'application/zip': { schema: { type: 'string', format: 'binary' } } }
        },
        ...errorResponses(403, 404)
      }
    }
  }, async (request, reply) => {
    const { id } = request.params
    const order = await zips.find(id)
    const { principal } = request
    if (order.keyId !== principal.keyId && !seesAllJobs(principal)) throw noSuchZip(id)
    const name = `stablequeue-${iso(Date.now()).slice(0, 10)}-${order.names.length}.zip`
    return await reply.headers({
      'content-type': 'application/zip',
      'content-disposition': `attachment; filename="${name}"`,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff'
    }).send(zips.stream(order))
  })
}

export default galleryRoutes

function plainView ({ image, job }: GalleryImage) {
  return {
    filename: image.name,
    created: iso(job.endedAt ?? job.updatedAt),
    size: image.bytes,
    job_id_prefix: /^[0-9a-f]{8}/.exec(image.name)?.[0] ?? null
  }
}
