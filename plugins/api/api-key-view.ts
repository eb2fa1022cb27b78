import type { ApiKey, ApiKeyUpdate, FirstApiKeyCreation } from '../../schemas/api-key.ts'
import { isRateTier } from '../../src/access/key-record.ts'
import type { AccessKey, AccessKeyFields } from '../../src/access/keys.ts'
import { iso } from '../../src/iso.ts'
import { shownUrl, type WebhookWish } from '../../src/webhooks/subscription.ts'

/**
 * An access key as callers see it.
 * @param at path of the collection
 * @param endpoint where events of its jobs go unless they say otherwise
 */
export function viewOf (accessKey: AccessKey, at: string, endpoint: WebhookWish | null): ApiKey {
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

/** What a body says about a key, in our own words; what it leaves out is left out. */
export function fieldsOf (body: FirstApiKeyCreation & ApiKeyUpdate): AccessKeyFields {
  const fields: AccessKeyFields = {}
  if (body.name !== undefined) fields.name = body.name.trim()
  if (body.description !== undefined) fields.description = body.description
  if (body.is_active !== undefined) fields.active = Boolean(body.is_active)
  if (body.scopes !== undefined) fields.scopes = body.scopes
  if (body.rate_limit_per_minute !== undefined) fields.ratePerMinute = body.rate_limit_per_minute
  if (body.rate_limit_tier !== undefined) fields.tier = isRateTier(body.rate_limit_tier) ? body.rate_limit_tier : 'default'
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
