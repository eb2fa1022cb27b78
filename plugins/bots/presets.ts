import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import { userId } from '../../schemas/bots-generation.ts'
import { botErrors } from '../../schemas/bots-job.ts'
import {
  Preset, PresetAnswer, PresetChange, PresetCopy, PresetInput, PresetList, PresetSaved, PresetSharing,
  SharedPresetsQuery, BotMessage
} from '../../schemas/bots-settings.ts'
import { Ref } from '../../schemas/kit.ts'
import { warningsOfUnknown } from '../../src/a1111/unknown-fields.ts'
import { botTime } from '../../src/bots/errors.ts'
import type { KeptImages } from '../../src/bots/images.ts'
import type { StoredPreset } from '../../src/bots/presets.ts'
import { readFields, unknownFields } from '../../src/bots/read-fields.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { fieldsOfRequest, readOnlyFields } from './scope.ts'
import { userOf } from './sessions.ts'

/** A preset for clients; images as texts that they can send again. */
async function renderPreset (images: KeptImages, preset: StoredPreset): Promise<Preset> {
  const { id, name, description, config, createdAt, lastUsedAt, shared, shareCode, copiedFrom, uses } = preset
  return {
    preset_id: id,
    name,
    description,
    config: await images.show(config),
    created_at: botTime(createdAt),
    last_used: lastUsedAt === null ? null : botTime(lastUsedAt),
    shared,
    share_code: shared === 'private' ? null : shareCode,
    copied_from: copiedFrom,
    uses
  }
}

const reading = { access: { scope: 'jobs:read' } } as const
const writing = { access: { scope: 'jobs:write' } } as const
const params = Type.Object({ user_id: userId })
const presetId = Type.String({ description: 'Id of the preset.', examples: ['2b1d6f0e-6c2a-4c57-9a63-6f3f9e8f4c11'] })
const presetParams = Type.Object({ user_id: userId, preset_id: presetId })
const codeParams = Type.Object({ code: Type.String({ description: 'Share code of the preset.', examples: ['k3Vx9QmT2w'] }) })

/** Saved workflows: stored, used, shared, copied. */
const presetRoutes: FastifyPluginAsync = async app => {
  const { presets, keptImages } = app
  const described = (operationId: string, summary: string, description = '') => ({
    operationId: `studio_${operationId}`, tags: ['Studio'], summary, ...(description === '' ? {} : { description })
  })
  const one = { 200: { ...Ref(Preset), description: 'The preset.' }, ...botErrors(404) }
  const changed = { 200: { ...Ref(PresetAnswer), description: 'Done.' }, ...botErrors(404) }
  const list = { 200: { ...Ref(PresetList), description: 'The presets.' }, ...botErrors() }
  const render = async (preset: Parameters<typeof renderPreset>[1]) => await renderPreset(keptImages, preset)

  app.get('/shared', {
    config: reading,
    schema: {
      ...described('shared_presets', 'Presets that are shared with everyone', 'Newest first.'),
      querystring: SharedPresetsQuery,
      response: list
    }
  }, async request => {
    const { search = '', offset = 0, limit = 50 } = readFields(SharedPresetsQuery, request.query, ['query'])
    return { presets: await Promise.all((await presets.sharedWithAll(search, offset, limit)).map(render)) }
  })

  app.get('/by-code/:code', {
    config: reading,
    schema: { ...described('preset_by_code', 'A preset by its share code'), params: codeParams, response: one }
  }, async request => await render(await presets.look(null, (request.params as { code: string }).code)))

  app.get('/:user_id', {
    config: reading,
    schema: { ...described('presets', 'Presets of a user'), params, response: list }
  }, async request => ({ presets: await Promise.all((await presets.list(userOf(request))).map(render)) }))

  app.post('/:user_id', {
    config: writing,
    schema: {
      ...described('save_preset', 'Save a workflow', 'Always makes a new one, also under a name that there is.'),
      params,
      body: Ref(PresetInput),
      response: { 200: { ...Ref(PresetSaved), description: 'It is saved.' }, ...botErrors(413) }
    }
  }, async request => {
    const fields = await fieldsOfRequest(request)
    const { id } = await presets.save(userOf(request), readFields(PresetInput, fields))
    return { message: 'Preset saved', preset_id: id, warnings: warningsOfUnknown(unknownFields(PresetInput, fields)) }
  })

  app.post('/:user_id/import', {
    config: writing,
    schema: {
      ...described('copy_preset', 'Copy a preset of another user', 'Name it by its share code, or by its id where it is shared with everyone.'),
      params,
      body: Ref(PresetCopy),
      response: changed
    }
  }, async request => {
    const { code, preset_id: id, name } = readOnlyFields(PresetCopy, await fieldsOfRequest(request))
    const reference = code ?? id
    if (reference === undefined) throw new ServiceError('missing_required_field', 'Field required', { field: 'code' })
    return { message: 'Preset copied', preset: await render(await presets.copy(userOf(request), reference, name)) }
  })

  app.get('/:user_id/:preset_id', {
    config: reading,
    schema: { ...described('preset', 'One preset'), params: presetParams, response: one }
  }, async request => await render(await presets.read(userOf(request), idOf(request))))

  for (const method of ['PUT', 'PATCH'] as const) {
    app.route({
      method,
      url: '/:user_id/:preset_id',
      config: writing,
      schema: {
        ...described(`change_preset_${method.toLowerCase()}`, 'Change a preset'),
        params: presetParams,
        body: Ref(PresetChange),
        response: changed
      },
      handler: async request => {
        const change = readOnlyFields(PresetChange, await fieldsOfRequest(request))
        return { message: 'Preset updated', preset: await render(await presets.change(userOf(request), idOf(request), change)) }
      }
    })
  }

  app.post('/:user_id/:preset_id/share', {
    config: writing,
    schema: {
      ...described('share_preset', 'Share a preset', 'Shared by link it gets a code, which can replace its id.'),
      params: presetParams,
      body: Ref(PresetSharing),
      response: changed
    }
  }, async request => {
    const { shared } = request.body === undefined
      ? readFields(PresetSharing, {})
      : readOnlyFields(PresetSharing, await fieldsOfRequest(request))
    const preset = await presets.share(userOf(request), idOf(request), shared)
    return { message: shared === 'private' ? 'Preset is private' : 'Preset shared', preset: await render(preset) }
  })

  app.delete('/:user_id/:preset_id', {
    config: writing,
    schema: {
      ...described('delete_preset', 'Delete a preset', 'Copies stay.'),
      params: presetParams,
      response: { 200: { ...Ref(BotMessage), description: 'It is gone.' }, ...botErrors(404) }
    }
  }, async request => {
    await presets.remove(userOf(request), idOf(request))
    return { message: 'Preset deleted' }
  })
}

export default presetRoutes

function idOf (request: FastifyRequest): string {
  return (request.params as { preset_id: string }).preset_id
}
