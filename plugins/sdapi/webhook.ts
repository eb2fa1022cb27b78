import type { FastifyRequest } from 'fastify'
import { WebhookFields, webhookFields } from '../../schemas/webhook.ts'
import { fieldsOf } from '../../src/a1111/json-values.ts'
import { readWebhookWish, type WebhookWish } from '../../src/webhooks/subscription.ts'

export interface AskedWebhook {
  readonly webhook: WebhookWish | null
  /** What comes back in events; undefined where nothing was given. */
  readonly metadata: unknown
}

/**
 * What a generation request says of webhooks, beside A1111's own fields. async-proxy's clients get the form that they
 * know unless they say otherwise.
 * @throws an error of Fastify's validation, or ServiceError `invalid_field_value`
 */
export function readAskedWebhook (request: FastifyRequest): AskedWebhook {
  const sent = fieldsOf(request.body)
  const fields: Record<string, unknown> = {}
  for (const name of Object.keys(webhookFields)) if (Object.hasOwn(sent, name)) fields[name] = sent[name]
  const isValid = request.compileValidationSchema(WebhookFields, 'body')
  if (!isValid(fields)) {
    throw Object.assign(new Error('the fields of webhooks are wrong'), {
      validation: isValid.errors ?? [], validationContext: 'body'
    })
  }
  const { metadata, ...wish } = fields as WebhookFields
  return { webhook: readWebhookWish({ webhook_format: 'legacy', ...wish }), metadata }
}
