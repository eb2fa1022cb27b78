import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import {
  ApiKey, ApiKeyCreation, ApiKeyRotation, ApiKeyUpdate, ApiKeyWithSecret, FirstApiKeyCreation, WebhookSecretAnswer
} from '../../schemas/api-key.ts'
import { errorResponses } from '../../schemas/error.ts'
import { Nullable, Ref } from '../../schemas/kit.ts'
import { isRateTier } from '../../src/access/key-record.ts'
import type { AccessKey, AccessKeyFields, IssuedKey } from '../../src/access/keys.ts'
import { defaultScopes, holdsAll, type Principal, type Scope, mayDo } from '../../src/access/principal.ts'
import { readWebhookRequest, shownUrl, type WebhookRequest } from '../../src/jobs/webhook-request.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { iso } from '../../src/lib/text.ts'

/**
 * An access key for clients.
 * @param at path of the collection, as the client reaches it
 * @param endpoint default receiver of its jobs' events
 */
function viewOf (accessKey: AccessKey, at: string, endpoint: WebhookRequest | null): ApiKey {
  const self = `${at}/${accessKey.id}`
  return {
    id: accessKey.id,
    name: accessKey.name,
    description: accessKey.description,
    key: accessKey.key,
    created_at: iso(accessKey.createdAt),
    last_used: iso(accessKey.lastUsedAt),
    last_used_at: iso(accessKey.lastUsedAt),
    usage_count: accessKey.usageCount,
    is_active: accessKey.active,
    scopes: [...accessKey.scopes],
    rate_limit_per_minute: accessKey.ratePerMinute,
    rate_limit_tier: accessKey.tier,
    share_weight: accessKey.shareWeight,
    background: accessKey.background,
    custom_rate_limits: accessKey.customRateLimits,
    permissions: accessKey.permissions,
    drop_in: {
      answer: accessKey.dropIn.answer,
      on_hang_up: accessKey.dropIn.onHangUp,
      server: accessKey.dropIn.server,
      early_job_id: accessKey.dropIn.earlyJobId
    },
    previous_secret_valid_until: iso(accessKey.previousSecretUntil),
    webhook_url: endpoint === null ? null : shownUrl(new URL(endpoint.url)),
    webhook_events: endpoint === null ? null : [...endpoint.events],
    _links: { self, update: self, delete: self }
  }
}

/** The fields of a body, in our own names; missing ones stay missing. */
function fieldsOf (body: FirstApiKeyCreation & ApiKeyUpdate): AccessKeyFields {
  const fields: AccessKeyFields = {}
  if (body.name !== undefined) fields.name = body.name.trim()
  if (body.description !== undefined) fields.description = body.description
  if (body.is_active !== undefined) fields.active = Boolean(body.is_active)
  if (body.scopes !== undefined) fields.scopes = body.scopes
  if (body.rate_limit_per_minute !== undefined) fields.ratePerMinute = body.rate_limit_per_minute
  if (body.rate_limit_tier !== undefined) fields.tier = isRateTier(body.rate_limit_tier) ? body.rate_limit_tier : 'default'
  if (body.share_weight !== undefined) fields.shareWeight = body.share_weight
  if (body.background !== undefined) fields.background = body.background
  if (body.permissions !== undefined) fields.permissions = legacyText(body.permissions) ?? '{}'
  if (body.custom_rate_limits !== undefined) fields.customRateLimits = legacyText(body.custom_rate_limits)
  if (body.drop_in !== undefined) {
    const { answer, on_hang_up: onHangUp, server, early_job_id: earlyJobId } = body.drop_in
    fields.dropIn = {
      ...(answer === undefined ? {} : { answer }),
      ...(onHangUp === undefined ? {} : { onHangUp }),
      ...(server === undefined ? {} : { server }),
      ...(earlyJobId === undefined ? {} : { earlyJobId })
    }
  }
  return fields
}

function legacyText (value: string | object | null): string | null {
  return typeof value === 'string' || value === null ? value : JSON.stringify(value)
}

const success = Type.Literal(true, { description: 'Always true.' })
const message = Type.String({ description: 'What happened, for people.' })
const params = Type.Object({ id: Type.String({ maxLength: 64, description: 'Id of the key.' }) })
const OneKey = Type.Object({ success, api_key: Ref(ApiKey) }, { description: 'The key, without its secret.' })
const ChangedKey = Type.Object({ success, message, api_key: Ref(ApiKey) }, { description: 'The key as it is now.' })
const Issued = Type.Object({
  success,
  message,
  api_key: Ref(ApiKeyWithSecret),
  key: Type.String({ description: 'The same as api_key.key, for older clients.' }),
  secret: Type.String({ description: 'The same as api_key.secret, for older clients.' })
}, { description: 'The key with its secret, which is shown only here.' })

const route = { tags: ['API keys'] }
/** Path of the collection. */
const at = '/api/v1/api-keys'
const config = { access: { scope: 'keys:admin' } } as const

const defaultGraceHours = 24

/** Access keys, for their administrators. */
const apiKeys: FastifyPluginAsyncTypebox = async app => {
  const { accessKeys, signingKeys, webhookService: service } = app

  app.get(at, {
    config,
    schema: {
      ...route,
      operationId: 'apiKeys.list',
      summary: 'List access keys',
      description: 'All keys, newest first, without secrets.',
      response: {
        200: Type.Object({
          success,
          api_keys: Type.Array(Ref(ApiKey), { description: 'The keys.' }),
          count: Type.Integer({ minimum: 0, description: 'How many keys there are.', examples: [1] })
        }, { description: 'The keys.' }),
        ...errorResponses(403)
      }
    }
  }, async ({ base }) => {
    const all = await accessKeys.list()
    return { success: true as const, api_keys: await Promise.all(all.map(key => view(key, base))), count: all.length }
  })

  app.post(at, {
    config,
    schema: {
      ...route,
      operationId: 'apiKeys.create',
      summary: 'Make an access key',
      description: 'Only this answer shows the secret. Callers can grant only rights that they have.',
      body: Ref(ApiKeyCreation),
      response: { 201: Issued, ...errorResponses(400, 403, 422) }
    }
  }, async (request, reply) => {
    refuseEscalation(request.principal, request.body.scopes ?? defaultScopes)
    const endpoint = await checkedEndpoint(request.body, request.principal)
    const fields = withinOwnRate(request.principal, { tier: 'default', ...fieldsOf(request.body) })
    refuseWeight(request.principal, fields)
    const issued = await accessKeys.create({ ...fields, name: request.body.name.trim() })
    reply.code(201).header('Location', `${at}/${issued.accessKey.id}`)
    return await newKeyAnswer(issued, { endpoint, base: request.base }, 'The access key was created. Keep the secret: it is not shown again.')
  })

  app.get(`${at}/setup`, {
    config: { access: 'public' },
    schema: {
      ...route,
      operationId: 'apiKeys.getSetup',
      summary: 'Whether a first key is wanted',
      description: 'Tells whether this installation has any access key yet.',
      response: {
        200: Type.Object({
          success,
          setup_required: Type.Boolean({ description: 'true while there is no access key.' }),
          is_first_setup: Type.Boolean({ description: 'The same, by its documented name.' }),
          existing_keys_count: Type.Integer({ minimum: 0, description: 'How many access keys there are.' }),
          message
        }, { description: 'State of the installation.' }),
        ...errorResponses(403)
      }
    }
  }, async () => {
    const count = await accessKeys.count()
    const isFirst = count === 0
    return {
      success: true as const,
      setup_required: isFirst,
      is_first_setup: isFirst,
      existing_keys_count: count,
      message: isFirst ? 'There is no access key yet.' : 'There are access keys already.'
    }
  })

  app.post(`${at}/setup`, {
    config,
    schema: {
      ...route,
      operationId: 'apiKeys.createFirst',
      summary: 'Make the first access key',
      description: 'Creates a key only while there is none; of two simultaneous requests one gets a key. Needs the same rights as ' +
        'any other key: this machine, or the admin token.',
      body: Nullable(Ref(FirstApiKeyCreation)),
      response: { 201: Issued, ...errorResponses(400, 403, 409, 422) }
    }
  }, async (request, reply) => {
    const body = request.body ?? {}
    refuseEscalation(request.principal, body.scopes ?? defaultScopes)
    const endpoint = await checkedEndpoint(body, request.principal)
    const issued = await accessKeys.createFirst({ ...fieldsOf(body), name: body.name?.trim() ?? 'First key' })
    if (issued === null) {
      throw new ServiceError('setup_already_done', `There are access keys already; make further ones with POST ${at}`)
    }
    reply.code(201).header('Location', `${at}/${issued.accessKey.id}`)
    return await newKeyAnswer(issued, { endpoint, base: request.base }, 'The first access key was created. Keep the secret: it is not shown again.')
  })

  app.get(`${at}/:id`, {
    config,
    schema: {
      ...route,
      operationId: 'apiKeys.get',
      summary: 'Read an access key',
      description: 'One key, without its secret.',
      params,
      response: { 200: OneKey, ...errorResponses(403, 404) }
    }
  }, async ({ params, base }) =>
    ({ success: true as const, api_key: await view(await accessKeys.get(params.id), base) }))

  app.put(`${at}/:id`, {
    config,
    schema: {
      ...route,
      operationId: 'apiKeys.change',
      summary: 'Change an access key',
      description: 'Changes the sent fields and keeps the rest. A disabled key stops working at once, everywhere.',
      params,
      body: Ref(ApiKeyUpdate),
      response: { 200: ChangedKey, ...errorResponses(400, 403, 404, 422) }
    }
  }, async request => {
    const { params: { id }, body, principal } = request
    await refuseManaging(principal, id)
    refuseEscalation(principal, body.scopes ?? [])
    const endpoint = await checkedEndpoint(body, principal)
    const fields = fieldsOf(body)
    refuseHigherRate(principal, accessKeys.rateGiven(fields), id)
    refuseWeight(principal, fields)
    const changed = await accessKeys.update(id, fields)
    if (endpoint !== undefined) await signingKeys.setDefaultEndpoint(id, endpoint)
    return { success: true as const, message: 'The access key was changed.', api_key: await view(changed, request.base) }
  })

  app.delete(`${at}/:id`, {
    config,
    schema: {
      ...route,
      operationId: 'apiKeys.remove',
      summary: 'Remove an access key',
      description: 'The key stops working at once, everywhere. Its jobs stay.',
      params,
      response: {
        200: Type.Object({ success, message }, { description: 'The key is deleted.' }),
        ...errorResponses(403, 404)
      }
    }
  }, async request => {
    await refuseManaging(request.principal, request.params.id)
    const { name } = await accessKeys.remove(request.params.id)
    return { success: true as const, message: `The access key ${name} was removed.` }
  })

  app.post(`${at}/:id/rotate`, {
    config,
    schema: {
      ...route,
      operationId: 'apiKeys.rotate',
      summary: 'Replace the secret of an access key',
      description: 'Makes a new secret; the former one keeps working for the grace period, so that clients can be ' +
        'changed one after the other.',
      params,
      body: Nullable(Ref(ApiKeyRotation)),
      response: { 200: Issued, ...errorResponses(400, 403, 404) }
    }
  }, async request => {
    await refuseManaging(request.principal, request.params.id)
    refuseHigherRate(request.principal, (await accessKeys.get(request.params.id)).ratePerMinute, request.params.id)
    const graceHours = request.body?.grace_hours ?? defaultGraceHours
    const issued = await accessKeys.rotate(request.params.id, graceHours)
    return await issuedAnswer(issued, graceHours === 0
      ? 'The secret was replaced; the former one no longer works.'
      : `The secret was replaced; the former one works for ${graceHours} more hours.`, request.base)
  })

  app.post(`${at}/:id/webhook-secret/rotate`, {
    config,
    schema: {
      ...route,
      operationId: 'apiKeys.rotateWebhookSecret',
      summary: 'Replace the secret that signs events',
      description: 'Events of the key\'s jobs are signed with the new secret at once and with the former one too for ' +
        'the overlap, so that receivers can be changed one after the other.',
      params,
      body: Nullable(Ref(ApiKeyRotation)),
      response: { 200: Ref(WebhookSecretAnswer), ...errorResponses(400, 403, 404) }
    }
  }, async request => {
    const { id } = request.params
    await refuseManaging(request.principal, id)
    const { secret, previousUntil } = await signingKeys.rotate(id, request.body?.grace_hours ?? defaultGraceHours)
    return {
      success: true as const,
      message: 'The secret for events was replaced. Keep it: it is not shown again.',
      webhook_secret: secret,
      previous_signs_until: iso(previousUntil)
    }
  })

  async function view (accessKey: AccessKey, base: string) {
    const { defaultEndpoint } = await signingKeys.read(accessKey.id)
    return viewOf(accessKey, `${base}${at}`, defaultEndpoint)
  }

  async function issuedAnswer ({ accessKey, secret }: IssuedKey, sentence: string, base: string) {
    return {
      success: true as const,
      message: sentence,
      api_key: { ...await view(accessKey, base), secret },
      key: accessKey.key,
      secret
    }
  }

  async function newKeyAnswer (
    issued: IssuedKey,
    { endpoint, base }: { endpoint: WebhookRequest | null | undefined, base: string },
    sentence: string
  ) {
    const { id } = issued.accessKey
    if (endpoint) await signingKeys.setDefaultEndpoint(id, endpoint)
    const webhook = await signingKeys.issue(id)
    const answer = await issuedAnswer(issued, sentence, base)
    return { ...answer, api_key: { ...answer.api_key, webhook_secret: webhook.secret } }
  }

  /** The default endpoint in a body; undefined if it is missing, null to remove it. */
  async function checkedEndpoint (
    body: ApiKeyUpdate, principal: Principal
  ): Promise<WebhookRequest | null | undefined> {
    if (body.webhook_url === undefined) return undefined
    const requested = readWebhookRequest(body)
    if (requested !== null) await service.check(requested, principal.keyId)
    return requested
  }

  /** Scopes of a new key: by default, no more than those of its creator. */
  function withinOwnRate (principal: Principal, fields: AccessKeyFields): AccessKeyFields {
    const { ratePerMinute: own } = principal
    const rate = accessKeys.rateGiven(fields)
    const isAsked = fields.ratePerMinute !== undefined || fields.tier !== 'default'
    if (!isAsked && isLimited(principal) && isHigher(rate, own)) return { ...fields, ratePerMinute: own }
    refuseHigherRate(principal, rate)
    return fields
  }

  /** A client that changes a key or gets its new secret gains its rights, so it must have them already. */
  async function refuseManaging (principal: Principal, id: string): Promise<void> {
    refuseEscalation(principal, (await accessKeys.get(id)).scopes)
  }
}

/** Whether a principal can grant only its own scopes to other keys; `*` has no bounds. */
function isLimited (principal: Principal): boolean {
  return principal.keyId !== null && !principal.scopes.has('*')
}

function isHigher (rate: number | null | undefined, own: number | null): boolean {
  return own !== null && rate !== undefined && (rate === null || rate > own)
}

/**
 * A key cannot lift its own limits, neither directly nor through another key that it creates, changes or gets the
 * secret of.
 * @param id of the key that gets the rate; left out for a new one
 */
function refuseHigherRate (principal: Principal, rate: number | null | undefined, id?: string): void {
  const isOwn = principal.keyId !== null && principal.keyId === id
  if ((!isOwn && !isLimited(principal)) || !isHigher(rate, principal.ratePerMinute)) return
  throw new ServiceError('permission_denied', `${principal.name} can make ${principal.ratePerMinute} requests a minute ` +
    'and cannot grant more to a key; the admin token can', { field: 'rate_limit_per_minute' })
}

/** The weights of keys divide the servers, which administrators of the queue do. */
function refuseWeight (principal: Principal, { shareWeight }: AccessKeyFields): void {
  if (shareWeight === undefined || mayDo(principal, 'queue:admin')) return
  throw new ServiceError('permission_denied', 'share_weight needs the scope queue:admin.', { field: 'share_weight' })
}

function refuseEscalation (principal: Principal, scopes: readonly Scope[]): void {
  if (holdsAll(principal, scopes)) return
  throw new ServiceError('permission_denied',
    `${principal.name} can neither grant nor manage scopes that it does not have itself`, { field: 'scopes' })
}

export default apiKeys
