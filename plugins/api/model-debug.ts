import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { Closed, needing, Ref } from '../../schemas/kit.ts'
import { ModelsCacheView, VerifyAnswer } from '../../schemas/model-files.ts'
import { bareName, splitHash } from '../../src/a1111/names.ts'
import { ignoring, ServiceError } from '../../src/lib/errors.ts'
import { iso } from '../../src/lib/text.ts'
import type { Model } from '../../src/model-facts/facts.ts'
import { modelsReported, nameOf } from '../../src/models/catalogue.ts'
import { normalisedPath, verifyCheckpoint } from '../../src/models/model-service.ts'
import { inventoriesOf } from '../../src/models/servers.ts'
import type { Server } from '../../src/servers/registry.ts'

const reading = { access: { scope: 'models:read' } } as const
const name = (description: string) => Type.String({ minLength: 1, maxLength: 1024, description })

/** The checkpoint that a name matches, on each server, and the sources of the catalogue. */
const modelDebug: FastifyPluginAsyncTypebox = async app => {
  const { catalogue, registry, states } = app

  async function verify (given: string, server?: Server) {
    const verdicts = await verifyCheckpoint(given, { registry, states }, server)
    const servers = verdicts.map(({ alias, title, problem }) => ({ alias, title, problem }))
    const model = await catalogue.require(given, 'checkpoint').catch(ignoring('model_not_known', 'model_ambiguous')) ??
      (await catalogue.state()).models.find(({ type, reported }) => type === 'checkpoint' &&
        reported.some(({ title }) => servers.some(server => server.title === title)))
    const available = servers.some(({ title }) => title !== null)
    const isHash = /^([0-9a-f]{10}|[0-9a-f]{64})$/i.test(given.trim())
    return {
      success: true as const,
      provided_value: given,
      interpreted_as: isHash ? 'model_hash' : 'checkpoint_name',
      available,
      reason: available ? null : server === undefined ? 'No enabled server has it.' : `${server.alias} does not have it.`,
      hash: model?.sha256 ?? model?.shortHash ?? null,
      match_type: model === undefined ? null : !isHash ? 'name' : given.trim().length === 64 ? 'sha256' : 'autov2',
      model_info: model === undefined ? null : brief(model),
      original_path: given,
      normalized_path: normalisedPath(given, verdicts),
      matched_model: servers.find(({ title }) => title !== null)?.title ?? null,
      available_models: [...new Set(verdicts.flatMap(({ titles }) => titles))],
      servers
    }
  }

  const response = { 200: { ...Ref(VerifyAnswer), description: 'What was found.' }, ...errorResponses(400, 403) }

  app.post('/api/v1/checkpoint-verify', {
    config: reading,
    schema: {
      operationId: 'checkpoints.verify',
      tags: ['Models'],
      summary: 'Whether a checkpoint is there',
      description: 'By hash or by any name that a job can use. civitai_version_id is a hash too, as clients send it.',
      body: Closed({
        civitai_version_id: Type.Optional(name('A hash, whatever the field is called.')),
        model_hash: Type.Optional(name('A hash.')),
        checkpoint_name: Type.Optional(name('A name.'))
      }, needing(['model_hash'], ['checkpoint_name'], ['civitai_version_id'])),
      response
    }
  }, async request => {
    const { civitai_version_id: versionId, model_hash: hash, checkpoint_name: named } = request.body
    const given = hash ?? named ?? versionId
    if (given !== undefined) return await verify(given)
    throw new ServiceError('missing_required_field', 'Give model_hash or checkpoint_name.', { field: 'model_hash' })
  })

  app.get('/api/v1/debug/verify-checkpoint', {
    config: reading,
    schema: {
      operationId: 'debug.verifyCheckpoint',
      tags: ['Models'],
      summary: 'What each server would make of a checkpoint\'s name',
      querystring: Type.Object({
        checkpoint_path: name('Any name, path or hash that a job can use.'),
        checkpoint_name: Type.Optional({ ...name('Same as checkpoint_path, in place of it.'), deprecated: true }),
        server_alias: Type.Optional(Type.String({
          minLength: 1, maxLength: 64, description: 'The server to check; default: all enabled ones.'
        }))
      }),
      response: { ...response, ...errorResponses(400, 403, 404) }
    },
    preValidation: async ({ query }) => {
      query.checkpoint_path ??= query.checkpoint_name as string
    }
  }, async request => {
    const { checkpoint_path: given, server_alias: alias } = request.query
    if (given.trim() === '') {
      throw new ServiceError('missing_required_field', 'Give checkpoint_path, such as ?checkpoint_path=sdxl/model.safetensors.',
        { field: 'checkpoint_path' })
    }
    return await verify(given, alias === undefined ? undefined : registry.require(alias, 'server_alias'))
  })

  app.get('/api/v1/debug/models-cache', {
    config: reading,
    schema: {
      operationId: 'debug.getModelsCache',
      tags: ['Models'],
      summary: 'What the catalogue is made of',
      response: { 200: { ...Ref(ModelsCacheView), description: 'Figures.' }, ...errorResponses(403) }
    }
  }, async () => {
    const { models, builtAt, version } = await catalogue.state()
    const byType: Record<string, number> = {}
    for (const { type } of models) byType[type] = (byType[type] ?? 0) + 1
    return {
      success: true as const,
      built_at: iso(builtAt),
      version,
      cache_size: models.length,
      models: models.map(entry),
      by_type: byType,
      on_disk: models.filter(({ files }) => files.length > 0).length,
      hashed: models.filter(({ sha256 }) => sha256 !== null).length,
      with_metadata: models.filter(({ sources }) => sources.length > 0).length,
      servers: (await inventoriesOf(registry, states)).map(({ server, inventory }) => ({
        alias: server.alias,
        read_at: iso(inventory?.readAt),
        models: inventory === null ? 0 : modelsReported(server.id, inventory).length
      }))
    }
  })
}

export default modelDebug

function brief (model: Model) {
  return {
    id: model.id,
    name: nameOf(model),
    filename: model.filename,
    hash_autov2: model.shortHash,
    hash_sha256: model.sha256
  }
}

function entry (model: Model) {
  const { id, type, path, shortHash, files, reported } = model
  const title = reported[0]?.title ?? null
  const paths = [...files, ...reported].map(known => known.path)
  const names = reported.flatMap(known => [known.title, known.alias ?? known.title])
  return {
    id,
    type,
    name: bareName(path),
    path,
    normalized_path: title === null ? path : splitHash(title).name,
    hash: shortHash,
    title,
    aliases: [...new Set([...paths.flatMap(known => [known, known.replaceAll('/', '\\')]), ...names])]
  }
}
