import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import { BotControlNetUnit, userId } from '../../schemas/bots-generation.ts'
import { botErrors, BotHistory, BotHistoryQuery } from '../../schemas/bots-job.ts'
import {
  ImportAnswer, ExportedUser, SessionAnswer, SessionChange, SessionLora, BotMessage, UserImport, UserSession
} from '../../schemas/bots-settings.ts'
import { Ref, WithDefaults } from '../../schemas/kit.ts'
import { warningsOfUnknown } from '../../src/a1111/unknown-fields.ts'
import { botTime } from '../../src/bots/errors.ts'
import { readFields, refuseUnknownFields, unknownFields } from '../../src/bots/read-fields.ts'
import { importUser, readSessionChange, readSessionLora } from '../../src/bots/session-change.ts'
import type { Session } from '../../src/bots/sessions.ts'
import { botUser, type BotUser } from '../../src/bots/user-scope.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { fieldsOfRequest, readOnlyFields } from './scope.ts'

const reading = { access: { scope: 'jobs:read' } } as const
const writing = { access: { scope: 'jobs:write' } } as const
const params = Type.Object({ user_id: userId })
const loraParams = Type.Object({
  user_id: userId,
  '*': Type.String({ description: 'LoRA, with or without its extension; can contain slashes.', examples: ['detail-tweaker.safetensors'] })
})

/** A session can be sent back as it was read, an export as it was written. */
const { user_id: sentUser, last_updated: lastUpdated } = UserSession.properties
const SessionSent = Type.Object({
  ...SessionChange.properties, user_id: Type.Optional(sentUser), last_updated: Type.Optional(lastUpdated)
})
const ImportSent = WithDefaults({
  ...UserImport.properties,
  user_id: Type.Optional(sentUser),
  exported_at: Type.Optional(ExportedUser.properties.exported_at)
})

/** A user's stored data: LoRAs, ControlNet units, defaults; and the history of jobs. */
const sessionRoutes: FastifyPluginAsync = async app => {
  const { userSessions: sessions, presets, userHistory: history, keptImages, botViews: views } = app

  async function render (
    { id }: BotUser, session: Session, withImages = keptImages.show
  ): Promise<UserSession> {
    const { units } = await withImages({ units: session.units })
    return {
      user_id: id,
      active_loras: Object.fromEntries(session.loras),
      controlnet_configs: units as UserSession['controlnet_configs'],
      custom_settings: { ...session.settings },
      last_updated: session.updatedAt === null ? null : botTime(session.updatedAt)
    }
  }

  const described = (operationId: string, summary: string, description = '') => ({
    operationId: `studio_${operationId}`, tags: ['Studio'], summary, params, ...(description === '' ? {} : { description })
  })
  const answers = {
    session: { 200: { ...Ref(UserSession), description: 'The session.' }, ...botErrors() },
    changed: { 200: { ...Ref(SessionAnswer), description: 'Done.' }, ...botErrors() },
    done: { 200: { ...Ref(BotMessage), description: 'Done.' }, ...botErrors() }
  }

  app.get('/:user_id', {
    config: reading,
    schema: { ...described('session', 'What is remembered of a user', 'An unknown user has an empty session.'), response: answers.session }
  }, async request => {
    const user = userOf(request)
    return await render(user, await sessions.read(user))
  })

  for (const method of ['PUT', 'PATCH'] as const) {
    app.route({
      method,
      url: '/:user_id',
      config: writing,
      schema: { ...described(`change_session_${method.toLowerCase()}`, 'Change what is remembered'), body: Ref(SessionChange), response: answers.changed },
      handler: async request => {
        const user = userOf(request)
        const fields = await fieldsOfRequest(request)
        refuseUnknownFields(SessionSent, fields)
        const change = readSessionChange(fields)
        return { message: 'Session updated', session: await render(user, await sessions.change(user, change)) }
      }
    })
  }

  app.delete('/:user_id', {
    config: writing,
    schema: { ...described('clear_session', 'Forget everything of a session', 'Presets and jobs stay.'), response: answers.done }
  }, async request => {
    await sessions.remove(userOf(request))
    return { message: 'Session cleared' }
  })

  app.post('/:user_id/loras', {
    config: writing,
    schema: { ...described('add_lora', 'Remember a LoRA', 'The same file again changes its weight.'), body: Ref(SessionLora), response: answers.changed }
  }, async request => {
    const user = userOf(request)
    const fields = await fieldsOfRequest(request)
    const { filename, weight } = readSessionLora(fields)
    const session = await render(user, await sessions.addLora(user, filename, weight))
    return { message: 'LoRA added to session', session, warnings: warningsOfUnknown(unknownFields(SessionLora, fields)) }
  })

  app.delete('/:user_id/loras', {
    config: writing,
    schema: { ...described('clear_loras', 'Forget all LoRAs'), response: answers.done }
  }, async request => {
    await sessions.clearLoras(userOf(request))
    return { message: 'All LoRAs cleared from session' }
  })

  app.delete('/:user_id/loras/*', {
    config: writing,
    schema: {
      ...described('remove_lora', 'Forget one LoRA'),
      params: loraParams,
      response: { 200: { ...Ref(BotMessage), description: 'Done.' }, ...botErrors(404) }
    }
  }, async request => {
    const { '*': filename } = request.params as { '*': string }
    if (!await sessions.removeLora(userOf(request), filename)) {
      throw new ServiceError('lora_not_in_session', 'LoRA not found in session')
    }
    return { message: 'LoRA removed from session' }
  })

  app.post('/:user_id/controlnet', {
    config: writing,
    schema: { ...described('add_controlnet', 'Remember a ControlNet unit', 'It can include a picture; beyond ten units the oldest is removed.'), body: Ref(BotControlNetUnit), response: answers.changed }
  }, async request => {
    const user = userOf(request)
    const unit = await fieldsOfRequest(request)
    readOnlyFields(BotControlNetUnit, unit)
    const session = await render(user, await sessions.addUnit(user, unit))
    return { message: 'ControlNet configuration added to session', session }
  })

  app.delete('/:user_id/controlnet', {
    config: writing,
    schema: { ...described('clear_controlnet', 'Forget all ControlNet units'), response: answers.done }
  }, async request => {
    await sessions.change(userOf(request), { controlnet_configs: [] })
    return { message: 'ControlNet configurations cleared from session' }
  })

  app.get('/:user_id/export', {
    config: reading,
    schema: {
      ...described('export_user', 'Everything of a user', 'Session and presets with their pictures, to be taken elsewhere.'),
      response: { 200: { ...Ref(ExportedUser), description: 'Everything.' }, ...botErrors() }
    }
  }, async request => {
    const user = userOf(request)
    const own = (await presets.list(user)).map(async preset => ({
      preset_id: preset.id,
      name: preset.name,
      description: preset.description,
      config: await keptImages.embed(preset.config),
      created_at: botTime(preset.createdAt),
      last_used: preset.lastUsedAt === null ? null : botTime(preset.lastUsedAt)
    }))
    return {
      user_id: user.id,
      session: await render(user, await sessions.read(user), keptImages.embed),
      presets: await Promise.all(own),
      exported_at: botTime(Date.now())
    }
  })

  app.post('/:user_id/import', {
    config: writing,
    schema: {
      ...described('import_user', 'Take over what was exported'),
      body: Ref(UserImport),
      response: { 200: { ...Ref(ImportAnswer), description: 'It is there.' }, ...botErrors(413) }
    }
  }, async request => {
    const user = userOf(request)
    const exported = readOnlyFields(ImportSent, await fieldsOfRequest(request))
    const { session, presetIds } = await importUser(user, exported, { sessions, presets })
    return {
      message: `Imported session and ${presetIds.length} presets`, session: await render(user, session), preset_ids: presetIds
    }
  })

  app.get('/:user_id/jobs', {
    config: reading,
    schema: {
      ...described('history', 'Jobs of a user', 'Newest first, in any state.'),
      querystring: BotHistoryQuery,
      response: { 200: { ...Ref(BotHistory), description: 'One page.' }, ...botErrors() }
    }
  }, async request => {
    const { offset = 0, limit = 50 } = readFields(BotHistoryQuery, request.query, ['query'])
    const { jobs, total } = await history.page(userOf(request), offset, limit)
    return { jobs: await views.jobs(jobs, request.base), total }
  })
}

export default sessionRoutes

/** @throws ValidationFailure */
export function userOf (request: FastifyRequest): BotUser {
  return botUser(request.principal, readFields(params, request.params, ['path']).user_id)
}
