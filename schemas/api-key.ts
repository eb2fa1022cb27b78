import { Type, type Static } from '@sinclair/typebox'
import { Closed, Nullable, StringEnum, Timestamp } from './kit.ts'
import { defaultEndpointFields } from './webhook.ts'

/** What an access key may do; `*` stands for everything, the scopes of later versions included. */
export const scopes = [
  '*',
  'jobs:write', 'jobs:read', 'images:read', 'models:read', 'servers:read',
  'webhooks:private',
  'jobs:read:all', 'jobs:cancel:all', 'models:write', 'queue:admin', 'servers:admin', 'keys:admin', 'metrics:read'
] as const

export const Scope = StringEnum(scopes, {
  description: 'A right of a key; `*` is all rights. Without `jobs:read:all` a key sees only its own jobs.'
})
export type Scope = Static<typeof Scope>

const name = Type.String({
  minLength: 1, maxLength: 200, pattern: '\\S', description: 'What people call the key.', examples: ['Forge on the big machine']
})
const description = Type.String({ maxLength: 2000, description: 'What the key is for.', examples: ['Batch renders'] })
const grantedScopes = Type.Array(Scope, {
  uniqueItems: true,
  maxItems: scopes.length,
  description: 'Rights of the key. Default: jobs:write, jobs:read, images:read, models:read and servers:read.',
  examples: [['jobs:write', 'jobs:read', 'images:read', 'models:read', 'servers:read']]
})
const ratePerMinute = Nullable(Type.Integer({ minimum: 1, maximum: 1_000_000 }), {
  description: 'Requests a minute; null for no limit. Default: what the tier allows.', examples: [60]
})
const tier = Type.String({
  maxLength: 64,
  description: 'default, extended (three times as many requests) or unlimited; any other word means default. ' +
    'The key\'s own rate_limit_per_minute overrides the tier.',
  examples: ['default']
})
const shareWeight = Type.Number({
  minimum: 0.01,
  maximum: 100,
  description: 'Share of the servers while several keys wait: a key with 2 gets twice the time of one with 1, the ' +
    'default. Setting it needs queue:admin.',
  examples: [1]
})
const background = Type.Boolean({
  description: 'true: its jobs go to the background, where they yield to all others, unless a request says `background: false`. Default: false.',
  examples: [true]
})
const legacyValue = (what: string) => Type.Union([Type.String({ maxLength: 10_000 }), Type.Object({}), Type.Null()], {
  description: `${what} of older clients, kept as text and without effect.`, examples: ['{}']
})

const dropIn = Closed({
  early_job_id: Type.Optional(Type.Boolean({ default: false, description: 'true: send status and X-Job-ID as soon as a job is accepted, and break the transfer off if it fails. Without effect where SDAPI_EARLY_JOB_ID is off.' })),
  answer: Type.Optional(StringEnum(['wait', 'async'], { default: 'wait', description: 'wait: answer with the images, as A1111 does. async: answer 202 with a job id at once.' })),
  on_hang_up: Type.Optional(StringEnum(['continue', 'cancel'], { default: 'continue', description: 'What happens to a job whose caller hangs up.' })),
  server: Type.Optional(Nullable(Type.String({ maxLength: 200 }), { default: null, description: 'Alias of the server for the jobs; null for the best one.' }))
}, { description: 'How /sdapi/v1 treats clients that use this key.', examples: [{ answer: 'wait' }] })

const settable = {
  description: Type.Optional(description),
  scopes: Type.Optional(grantedScopes),
  rate_limit_per_minute: Type.Optional(ratePerMinute),
  rate_limit_tier: Type.Optional(tier),
  share_weight: Type.Optional(shareWeight),
  background: Type.Optional(background),
  permissions: Type.Optional(legacyValue('Permissions')),
  custom_rate_limits: Type.Optional(legacyValue('Own limits')),
  drop_in: Type.Optional(dropIn),
  is_active: Type.Optional(Type.Union([Type.Boolean(), Type.Literal(0), Type.Literal(1)], {
    description: 'false switches the key off, true on again; older clients send 0 and 1.', examples: [false]
  })),
  ...defaultEndpointFields
}

export const ApiKeyCreation = Closed({ name, ...settable }, {
  $id: 'ApiKeyCreation', description: 'An access key to be made.', examples: [{ name: 'Forge on the big machine' }]
})
export type ApiKeyCreation = Static<typeof ApiKeyCreation>

export const FirstApiKeyCreation = Closed({ name: Type.Optional(name), ...settable }, {
  $id: 'FirstApiKeyCreation', description: 'The first access key of an installation.', examples: [{ name: 'First key' }]
})
export type FirstApiKeyCreation = Static<typeof FirstApiKeyCreation>

export const ApiKeyUpdate = Closed({
  name: Type.Optional(name),
  ...settable
}, {
  $id: 'ApiKeyUpdate', description: 'What to change; everything left out stays.', minProperties: 1, examples: [{ is_active: false }]
})
export type ApiKeyUpdate = Static<typeof ApiKeyUpdate>

export const ApiKeyRotation = Closed({
  grace_hours: Type.Optional(Type.Integer({
    minimum: 0, maximum: 168, default: 24, description: 'Hours for which the former secret still works.', examples: [24]
  }))
}, { $id: 'ApiKeyRotation', description: 'How to replace a secret.', examples: [{ grace_hours: 24 }] })
export type ApiKeyRotation = Static<typeof ApiKeyRotation>

const shown = {
  id: Type.String({ format: 'uuid', description: 'Id of the key, for the routes of this resource.' }),
  name,
  description,
  key: Type.String({ description: 'The public half, sent as X-API-Key.', examples: ['mk_0123456789abcdef01234567'] }),
  created_at: Timestamp('When the key was made.'),
  last_used: Nullable(Timestamp('When the key was last used.')),
  last_used_at: Nullable(Timestamp('The same as last_used, under its newer name.')),
  usage_count: Type.Integer({ minimum: 0, description: 'Requests made with the key.', examples: [42] }),
  is_active: Type.Boolean({ description: 'false: the key is switched off.' }),
  scopes: grantedScopes,
  rate_limit_per_minute: ratePerMinute,
  rate_limit_tier: tier,
  share_weight: shareWeight,
  background,
  custom_rate_limits: Nullable(Type.String(), { description: 'Text of older clients, without effect.' }),
  permissions: Type.String({ description: 'Text of older clients, without effect.', examples: ['{}'] }),
  drop_in: dropIn,
  previous_secret_valid_until: Nullable(Timestamp('Until when the secret before the last rotation still works.')),
  webhook_url: Nullable(Type.String(), { description: 'Where events of its jobs go unless they say otherwise, without its query.' }),
  webhook_events: Nullable(Type.Array(Type.String()), { description: 'Which events go there.' }),
  _links: Type.Object({
    self: Type.String({ description: 'Where the key is read.' }),
    update: Type.String({ description: 'Where the key is changed.' }),
    delete: Type.String({ description: 'Where the key is removed.' })
  }, { description: 'Where to go from here.' })
}

export const ApiKey = Type.Object(shown, { $id: 'ApiKeyView', description: 'An access key without its secret.' })
export type ApiKey = Static<typeof ApiKey>

const webhookSecret = Type.String({
  description: 'whsec_…: signs the events of the key\'s jobs and is never sent. Shown only here.'
})

const secret = Type.String({ description: 'The secret half, sent as X-API-Secret. Shown only here.' })

export const ApiKeyWithSecret = Type.Object({ ...shown, secret, webhook_secret: Type.Optional(webhookSecret) }, {
  $id: 'ApiKeyWithSecret', description: 'An access key and its secret, shown only once.'
})
export type ApiKeyWithSecret = Static<typeof ApiKeyWithSecret>

export const WebhookSecretAnswer = Type.Object({
  success: Type.Literal(true, { description: 'Always true.' }),
  message: Type.String({ description: 'What happened, for people.' }),
  webhook_secret: webhookSecret,
  previous_signs_until: Nullable(Timestamp('Until when events carry a signature of the former secret too.'))
}, { $id: 'WebhookSecretAnswer', description: 'The new secret for events.' })
