import { Type } from '@sinclair/typebox'
import { Nullable, success, Timestamp } from './kit.ts'

export const VerifyAnswer = Type.Object({
  success,
  provided_value: Type.String({ description: 'What was asked for.' }),
  interpreted_as: Type.String({ description: 'What it was taken for.', examples: ['model_hash'] }),
  available: Type.Boolean({ description: 'Whether any server has it.' }),
  reason: Nullable(Type.String(), { description: 'Why it is not available.' }),
  hash: Nullable(Type.String(), { description: 'Its hash, where known.' }),
  match_type: Nullable(Type.String(), { description: 'autov2, sha256 or name.' }),
  model_info: Nullable(Type.Object({
    id: Type.Integer({ description: 'Its id here.' }),
    name: Type.String({ description: 'For people.' }),
    filename: Type.String({ description: 'File name.' }),
    hash_autov2: Nullable(Type.String(), { description: 'First ten digits of the SHA-256.' }),
    hash_sha256: Nullable(Type.String(), { description: 'Of the whole file.' })
  }), { description: 'Its entry in the catalogue.' }),
  servers: Type.Array(Type.Object({
    alias: Type.String({ description: 'The server.' }),
    title: Nullable(Type.String(), { description: 'Its own title for it, that a job is sent with; null: it has none.' }),
    problem: Nullable(Type.String(), { description: 'Why it has none, where that is more than absence.' })
  }), { description: 'What each server would make of it.' })
}, { $id: 'CheckpointVerification' })

export const ModelsCacheView = Type.Object({
  success,
  built_at: Timestamp('When the list was made.'),
  version: Type.String({ description: 'Changes with what it is made of.' }),
  models: Type.Integer({ description: 'Entries.' }),
  by_type: Type.Record(Type.String(), Type.Integer(), { description: 'Entries of each type.' }),
  on_disk: Type.Integer({ description: 'Entries with a file here.' }),
  hashed: Type.Integer({ description: 'Entries whose whole SHA-256 is known.' }),
  with_metadata: Type.Integer({ description: 'Entries that anything is told about.' }),
  servers: Type.Array(Type.Object({
    alias: Type.String({ description: 'The server.' }),
    read_at: Nullable(Timestamp('When it was last read.')),
    models: Type.Integer({ description: 'Models that it reports.' })
  }), { description: 'What it is made of.' })
}, { $id: 'ModelsCache' })
