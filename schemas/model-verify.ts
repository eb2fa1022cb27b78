import { Type } from '@sinclair/typebox'
import { Nullable, success, Timestamp } from './kit.ts'

export const VerifyAnswer = Type.Object({
  success,
  provided_value: Type.String({ description: 'The request.' }),
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
  original_path: Type.String({ description: 'Same as provided_value.' }),
  normalized_path: Type.String({ description: 'The same in the server\'s own writing: its path where it has it, else with its slashes.' }),
  matched_model: Nullable(Type.String(), { description: 'The server\'s own title for it, that a job is sent with; null: it has none.' }),
  available_models: Type.Array(Type.String(), { description: 'Titles of all checkpoints of the server; of all servers where none was named.' }),
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
  cache_size: Type.Integer({ minimum: 0, description: 'Entries.' }),
  models: Type.Array(Type.Object({
    id: Type.Integer({ description: 'Its id in /api/v1/models.' }),
    type: Type.String({ description: 'What it is for.' }),
    name: Type.String({ description: 'File name without ending.' }),
    path: Type.String({ description: 'Within the folder of its type, with forward slashes.' }),
    normalized_path: Type.String({ description: 'The same as its first server writes it.' }),
    hash: Nullable(Type.String(), { description: 'First ten digits of the SHA-256.' }),
    title: Nullable(Type.String(), { description: 'Its first server\'s own name for it; null where no server has it.' }),
    aliases: Type.Array(Type.String(), { description: 'Names that a job can use for it.' })
  }), { description: 'The entries.' }),
  by_type: Type.Record(Type.String(), Type.Integer(), { description: 'Entries of each type.' }),
  on_disk: Type.Integer({ description: 'Entries with a file here.' }),
  hashed: Type.Integer({ description: 'Entries whose whole SHA-256 is known.' }),
  with_metadata: Type.Integer({ description: 'Entries with details.' }),
  servers: Type.Array(Type.Object({
    alias: Type.String({ description: 'The server.' }),
    read_at: Nullable(Timestamp('When it was last read.')),
    models: Type.Integer({ description: 'Models that it reports.' })
  }), { description: 'What it is made of.' })
}, { $id: 'ModelsCache' })
