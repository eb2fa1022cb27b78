import { type Static, Type } from '@sinclair/typebox'
import { Scope } from './api-key.ts'
import { Closed, needing, Nullable, StringEnum, Timestamp } from './kit.ts'

/** What opens a session of the web UI. */
export const SessionOpening = Closed({
  token: Type.Optional(Type.String({
    minLength: 1, maxLength: 1024, description: 'ADMIN_TOKEN or AUTH_TOKEN, or an access key as `mk_…:secret`.'
  })),
  key: Type.Optional(Type.String({ minLength: 1, maxLength: 200, description: 'Access key, `mk_…`, together with secret.' })),
  secret: Type.Optional(Type.String({ minLength: 1, maxLength: 1024, description: 'Secret of the access key.' }))
}, {
  ...needing(['token'], ['key', 'secret']), $id: 'SessionOpening', description: 'Either token, or key with secret.'
})
export type SessionOpening = Static<typeof SessionOpening>

const right = (description: string) => Type.Boolean({ description })

/** The caller, and what its pages can offer. */
export const SessionView = Type.Object({
  kind: StringEnum(['key', 'token', 'local', 'session', 'anonymous'], { description: 'How the caller was recognised.' }),
  name: Type.String({ description: 'Name of the caller: of the access key, or kind.' }),
  role: StringEnum(['admin', 'user'], { description: 'admin: has all rights and sees the jobs of all. user: has those in rights.' }),
  key_id: Nullable(Type.String(), { description: 'Access key whose jobs are its own; null for callers without one.' }),
  scopes: Type.Array(Scope, { description: 'Its scopes; `*` is all of them.' }),
  rights: Type.Object({
    submit_jobs: right('Submit jobs, and change, cancel and delete its own.'),
    see_jobs: right('See its own jobs and their events.'),
    see_all_jobs: right('See the jobs of all.'),
    change_all_jobs: right('Cancel, change and delete the jobs of all.'),
    see_images: right('See images, previews and the gallery.'),
    see_models: right('See models.'),
    change_models: right('Scan, download, change and remove models.'),
    see_servers: right('See servers.'),
    change_servers: right('Add, change, pause and remove servers.'),
    change_queue: right('Pause all queues, change settings, and move jobs ahead of everybody\'s.'),
    manage_keys: right('See, create, change and remove access keys.'),
    see_metrics: right('See metrics.')
  }, { description: 'What it can do, so that pages offer no more.' }),
  limits: Type.Object({
    requests_per_minute: Nullable(Type.Integer(), { description: 'Requests a minute, without those of pages of the web UI that only read; null for no limit.' }),
    waiting_jobs: Nullable(Type.Integer(), { description: 'Waiting jobs that it can have; null for no limit.' }),
    share_weight: Nullable(Type.Number(), { description: 'Its share of the servers relative to other keys; null without a key.' }),
    background: Type.Boolean({ description: 'Whether its jobs go to the background unless a request says otherwise.' })
  }, { description: 'Its limits.' }),
  usage: Type.Object({
    today_since: Timestamp('Begin of the day, in UTC.'),
    jobs_today: Type.Integer({ description: 'Jobs that it submitted today and that still exist.' }),
    waiting: Type.Integer({ description: 'Its waiting jobs.' }),
    running: Type.Integer({ description: 'Its running jobs.' }),
    waiting_left: Nullable(Type.Integer(), { description: 'Jobs that it can submit until some of them start; null for no limit.' }),
    requests_left: Nullable(Type.Integer(), { description: 'Requests that it can make at once; null for no limit.' }),
    requests_full_at: Nullable(Timestamp('When requests_left is at requests_per_minute again; null for no limit.'))
  }, { description: 'What it used: a key\'s own jobs, for other callers those of all.' })
}, { $id: 'SessionView', description: 'The caller, with its rights, limits and usage.' })
export type SessionView = Static<typeof SessionView>
