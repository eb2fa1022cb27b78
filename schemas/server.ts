import { Type, type Static } from '@sinclair/typebox'
import { Closed, needing, Nullable, Ref, StringEnum, success, Timestamp } from './kit.ts'
import { LearnedView } from './server-check.ts'

export const serverHealths = ['online', 'busy', 'suspected', 'offline', 'unauthorized', 'disabled'] as const
export const ServerHealth = StringEnum(serverHealths, {
  description: 'online: answers and is idle. busy: generates now. suspected: answers, but gets ' +
    'a break after failed generations; last_error says why. offline: does not answer. ' +
    'unauthorized: rejects its credentials. disabled: switched off by its owner.'
})
export type ServerHealth = Static<typeof ServerHealth>

export const ServerKind = StringEnum([
  'a1111', 'forge', 'forge-classic', 'forge-neo', 'reforge', 'sdnext', 'sdcpp', 'simulator'
], {
  description: 'What answers there; simulator is the built-in one, which paints instead of generating.'
})
export type ServerKind = Static<typeof ServerKind>

const restoreSelection = StringEnum(['when idle', 'always', 'never'], {
  description: 'When the checkpoint that people selected at the server is selected there again after jobs with others. ' +
    'when idle: once no job waits; a server that restores it by itself does so after each job. always: after each job. ' +
    'never: the checkpoint of the last job stays selected.'
})

const alias = Type.String({
  minLength: 1,
  maxLength: 64,
  pattern: '^(?!\\.{1,2}$)(?=.*\\S)[^/\\\\\\u0000-\\u001f]+$',
  description: 'Name of the server, unique without regard to case; no slashes.',
  examples: ['Main']
})

const serverFields = {
  alias,
  apiUrl: Type.Optional(Type.String({
    maxLength: 2048,
    description: 'Address of the A1111 or Forge API, optionally with user:password. Or send host and port.',
    examples: ['http://192.168.1.20:7860']
  })),
  url: Type.Optional(Type.String({ maxLength: 2048, description: 'Same as apiUrl.', examples: ['http://192.168.1.20:7860'] })),
  host: Type.Optional(Type.String({ maxLength: 255, description: 'Host name or address, instead of apiUrl.' })),
  port: Type.Optional(Type.Union([Type.Integer({ minimum: 1, maximum: 65535 }), Type.String({ pattern: '^\\d{1,5}$' })], {
    description: 'Port for host; 7860 if left out.', default: 7860
  })),
  description: Type.Optional(Nullable(Type.String({ maxLength: 1000 }), { description: 'For people.' })),
  username: Type.Optional(Nullable(Type.String({ maxLength: 256 }), { description: 'User of `--api-auth`; authUser means the same.' })),
  password: Type.Optional(Nullable(Type.String({ maxLength: 256 }), { description: 'Password of `--api-auth`; authPass means the same. Kept encrypted, never shown.' })),
  authUser: Type.Optional(Nullable(Type.String({ maxLength: 256 }), { description: 'Same as username.' })),
  authPass: Type.Optional(Nullable(Type.String({ maxLength: 256 }), { description: 'Same as password.' })),
  auth: Type.Optional(Nullable(Type.Union([
    Type.String({ maxLength: 513 }),
    Closed({
      username: Type.Optional(Type.String({ maxLength: 256, description: 'User name.' })),
      password: Type.Optional(Type.String({ maxLength: 256, description: 'Password.' })),
      user: Type.Optional(Type.String({ maxLength: 256, description: 'Same as username.' })),
      pass: Type.Optional(Type.String({ maxLength: 256, description: 'Same as password.' }))
    })
  ]), { description: 'Same as username and password: "user:password", or an object with both.' })),
  headers: Type.Optional(Nullable(Type.Record(Type.String(), Type.String({ maxLength: 8192, description: 'Its value.' })), {
    description: 'Sent with every request to the server and to no other address, for tunnels and proxies that need a ' +
      'token. Kept encrypted, never shown; replaces those of before.',
    examples: [{ 'CF-Access-Client-Id': 'abc.access', 'CF-Access-Client-Secret': 'secret' }]
  })),
  bearer: Type.Optional(Nullable(Type.String({ maxLength: 8192 }), {
    description: 'Token that is sent as `Authorization: Bearer`, instead of username and password. Kept encrypted, never shown.'
  })),
  ca: Type.Optional(Nullable(Type.String({ maxLength: 262_144 }), {
    description: 'Certificates in PEM that are trusted for its https address in place of the usual authorities: its ' +
      'own, if it signed that itself, or that of a private authority.'
  })),
  tls_verify: Type.Optional(Nullable(Type.Boolean(), {
    description: 'false: accepts any certificate, so an attacker in between can read and change everything. Prefer ca.'
  })),
  enabled: Type.Optional(Type.Boolean({ description: 'false: the server is off and its jobs wait.', default: true })),
  job_timeout_seconds: Type.Optional(Nullable(Type.Integer({ minimum: 1, maximum: 86_400 }), {
    description: 'Longest time for one generation there; null for the setting JOB_TIMEOUT_SECONDS.'
  })),
  restore_selection: Type.Optional(restoreSelection)
}

export const ServerInput = Closed(serverFields, {
  ...needing(['apiUrl'], ['url'], ['host']),
  $id: 'ServerInput',
  description: 'A server to be added.',
  examples: [{ alias: 'Studio', apiUrl: 'http://192.168.1.20:7860', description: 'The big machine' }]
})
export type ServerInput = Static<typeof ServerInput>

const draining = Type.Boolean({
  description: 'true: it finishes what runs and begins nothing more, so that it can be removed; `drained` and the event server-drained say ' +
    'when it is empty. Waiting jobs that name no server move to others that can run them; the rest wait. false undoes it.'
})

export const ServerChange = Type.Partial(Type.Object({ ...serverFields, draining }), {
  $id: 'ServerChange',
  description: 'What to change; everything left out stays.',
  additionalProperties: false,
  examples: [{ description: 'The big machine' }]
})

/** A server as callers see it: never with credentials. */
export const ServerView = Type.Object({
  id: Type.String({ description: 'Stays the same when the alias changes.' }),
  alias,
  apiUrl: Type.String({ description: 'Address without credentials.' }),
  host: Type.String({ description: 'Host part of the address.' }),
  port: Type.Integer({ description: 'Port part of the address.' }),
  description: Nullable(Type.String(), { description: 'For people.' }),
  has_credentials: Type.Boolean({ description: 'Whether a user name and password are stored.' }),
  has_bearer: Type.Boolean({ description: 'Whether a bearer token is stored.' }),
  has_headers: Type.Boolean({ description: 'Whether headers of its own are stored.' }),
  has_ca: Type.Boolean({ description: 'Whether certificates of its own are stored.' }),
  tls_verify: Type.Boolean({ description: 'false: any certificate will do.' }),
  enabled: Type.Boolean({ description: 'false: taken out by its owner.' }),
  paused: Type.Boolean({ description: 'true: it begins no jobs, because an operator or a thorough check has paused it, or it is draining.' }),
  draining: Type.Boolean({ description: 'true: an operator takes it out; it finishes what runs and begins nothing more.' }),
  drained: Type.Boolean({ description: 'true: it is draining, and nothing runs there any more.' }),
  checking: Type.Boolean({ description: 'true: a thorough check uses it alone; its queue continues afterwards, unless an operator has paused it.' }),
  pause_reason: Nullable(Type.String(), { description: 'Reason of the pause, if the operator gave one.' }),
  paused_at: Nullable(Type.String({ format: 'date-time' }), { description: 'Start of the pause.' }),
  job_timeout_seconds: Nullable(Type.Integer(), { description: 'Longest time for one generation there; null: the default.' }),
  restore_selection: restoreSelection,
  origin: StringEnum(['user', 'settings', 'found', 'simulator'], {
    description: 'user: added through the API. settings: from SERVERS or A1111_URL. found: looked up on this machine. simulator: built in.'
  }),
  is_simulator: Type.Boolean({ description: 'true: this is no real Stable Diffusion server.' }),
  kind: Nullable(ServerKind, { description: 'null until it answered for the first time.' }),
  version: Nullable(Type.String(), { description: 'As the server reports it.' }),
  health: ServerHealth,
  health_since: Nullable(Timestamp('Since when its health is what it is.')),
  checked_at: Nullable(Timestamp('When it was last checked, to the minute.')),
  last_answer_at: Nullable(Timestamp('When it last answered, to the minute; null: it has not answered yet.')),
  last_error: Nullable(Type.String(), { description: 'What went wrong last, in words.' }),
  loaded_checkpoint: Nullable(Type.String(), { description: 'Title of the checkpoint it has loaded.' }),
  waiting: Type.Integer({ minimum: 0, description: 'Jobs in its queue: those that the caller can see.' }),
  processing: Type.Integer({ minimum: 0, description: 'Jobs that it runs now: those that the caller can see.' }),
  learned: Nullable(Ref(LearnedView), { description: 'What a thorough check and the work with it have shown; null before it answered.' })
}, { $id: 'ServerView', description: 'A server.' })
export type ServerView = Static<typeof ServerView>

/** Clients that give no reason send no body, or null. */
export const ServerPause = Type.Unsafe<{ reason?: string | null } | null>({
  ...Closed({
    reason: Type.Optional(Nullable(Type.String({ maxLength: 300 }), { description: 'Reason, for people who see its queue wait.' }))
  }),
  type: ['object', 'null'],
  $id: 'ServerPause',
  description: 'Reason of a pause.',
  examples: [{ reason: 'Driver update' }]
})

export const ServerSample = Type.Object({
  at: Timestamp('Time of the check.'),
  health: StringEnum(['online', 'suspected', 'offline', 'unauthorized'], { description: 'Result; valid until the next sample.' }),
  response_ms: Nullable(Type.Integer({ minimum: 0 }), { description: 'How long it took to answer; null where it did not.' })
}, { $id: 'ServerSample', description: 'One look at a server.' })

export const ServerHistory = Type.Object({
  success,
  server: Type.String({ description: 'Alias of the server.' }),
  online_share: Nullable(Type.Number({ minimum: 0, maximum: 1 }), {
    description: 'Share of the time since the first sample in which it was online; null before the first.'
  }),
  samples: Type.Array(Ref(ServerSample), { description: 'Oldest first: each change, and one a minute in between.' })
}, { $id: 'ServerHistory', description: 'How a server was over the last day.' })
export type ServerHistory = Static<typeof ServerHistory>

export const ServerChangeAnswer = Type.Object({
  success,
  message: Type.String({ description: 'What was done.' }),
  server: Ref(ServerView)
}, { $id: 'ServerChangeAnswer', description: 'A server after a change.' })

export const ServerTestAnswer = Type.Object({
  success,
  reachable: Type.Boolean({ description: 'Whether it answered and accepted the credentials.' }),
  message: Type.String({ description: 'What was found, or what went wrong.' }),
  duration_ms: Type.Integer({ description: 'How long the look took.' }),
  server: Ref(ServerView)
}, { $id: 'ServerTestAnswer', description: 'What a look at a server found.' })

const names = (description: string) => Type.Array(Type.String(), { description })

export const InventoryView = Type.Object({
  server: Type.String({ description: 'Alias of the server.' }),
  read_at: Nullable(Timestamp('When it was read; null before the first time.')),
  checkpoints: Type.Array(Type.Object({
    title: Type.String({ description: 'The server\'s own exact name.' }),
    name: Type.String({ description: 'Name without folder and ending.' }),
    hash: Nullable(Type.String(), { description: 'First 10 digits of the SHA-256, where known.' })
  }), { description: 'What can be named as checkpoint_name.' }),
  samplers: names('What can be named as sampler_name.'),
  schedulers: names('What can be named as scheduler.'),
  upscalers: names('Values for hr_upscaler, besides the latent modes.'),
  latent_upscale_modes: names('Latent modes for hr_upscaler.'),
  vaes: names('What can be named as vae.'),
  loras: names('What can be named in a <lora:…> tag.'),
  embeddings: names('Textual inversions for prompts.'),
  styles: names('What can be named in styles.'),
  scripts: names('Scripts for txt2img.'),
  controlnet_models: names('What ControlNet units can name as model.'),
  controlnet_modules: names('What ControlNet units can name as module.'),
  not_offered: names('Lists that this kind of server does not offer.')
}, { $id: 'InventoryView', description: 'What a server has.' })
export type InventoryView = Static<typeof InventoryView>
