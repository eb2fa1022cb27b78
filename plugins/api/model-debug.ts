import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { Closed, Ref } from '../../schemas/kit.ts'
import { ModelsCacheView, VerifyAnswer } from '../../schemas/model-verify.ts'
import { ServiceError } from '../../src/errors.ts'
import { iso } from '../../src/iso.ts'
import { nameOf, type Catalogue } from '../../src/models/catalogue.ts'
import type { Model } from '../../src/models/model.ts'
import { modelsReported } from '../../src/models/reported.ts'
import { inventoriesOf } from '../../src/models/servers.ts'
import { verifyCheckpoint } from '../../src/models/verify.ts'
import type { ServerRegistry } from '../../src/servers/registry.ts'
import type { ServerStateStore } from '../../src/servers/state-store.ts'

export interface ModelDebugOptions {
  readonly catalogue: Catalogue
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
}

const reading = { access: { scope: 'models:read' } } as const
const name = (description: string) => Type.String({ minLength: 1, maxLength: 1024, description })

/** Which checkpoint a name means, at which server, and what the catalogue is made of. */
const modelDebug: FastifyPluginAsyncTypebox<ModelDebugOptions> = async (app, { catalogue, registry, states }) => {
  async function verify (given: string) {
    const servers = await verifyCheckpoint(given, { registry, states })
    const model = await catalogue.require(given, 'checkpoint').catch(ifUnknown) ??
      (await catalogue.state()).models.find(({ type, reported }) => type === 'checkpoint' &&
        reported.some(({ title }) => servers.some(server => server.title === title)))
    const available = servers.some(({ title }) => title !== null)
    const isHash = /^([0-9a-f]{10}|[0-9a-f]{64})$/i.test(given.trim())
    return {
      success: true as const,
      provided_value: given,
      interpreted_as: isHash ? 'model_hash' : 'checkpoint_name',
      available,
      reason: available ? null : 'No enabled server has it.',
      hash: model?.sha256 ?? model?.shortHash ?? null,
      match_type: model === undefined ? null : !isHash ? 'name' : given.trim().length === 64 ? 'sha256' : 'autov2',
      model_info: model === undefined ? null : brief(model),
      servers: servers.map(server => ({ ...server }))
    }
  }

  const response = { 200: { ...Ref(VerifyAnswer), description: 'What was found.' }, ...errorResponses(400, 403) }

  app.post('/api/v1/checkpoint-verify', {
    config: reading,
    schema: {
      operationId: 'verify_checkpoint',
      tags: ['Models'],
      summary: 'Whether a checkpoint is there',
      description: 'By hash or by any name that a job may use. civitai_version_id is a hash too, as clients send it.',
      body: Closed({
        civitai_version_id: Type.Optional(name('A hash, whatever the field is called.')),
        model_hash: Type.Optional(name('A hash.')),
        checkpoint_name: Type.Optional(name('A name.'))
      }),
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
      operationId: 'debug_verify_checkpoint',
      tags: ['Models'],
      summary: 'What each server would make of a checkpoint\'s name',
      querystring: Type.Object({ checkpoint_name: name('Any name, path or hash that a job may use.') }),
      response
    }
  }, async request => await verify(request.query.checkpoint_name))

  app.get('/api/v1/debug/models-cache', {
    config: reading,
    schema: {
      operationId: 'debug_models_cache',
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
      models: models.length,
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

function ifUnknown (error: unknown): undefined {
  if (error instanceof ServiceError && ['model_not_known', 'model_ambiguous'].includes(error.code)) return undefined
  throw error
}
