import { type Static, Type } from '@sinclair/typebox'
import { Nullable, StringEnum, success, Timestamp } from './kit.ts'

export const DeletionAnswer = Type.Object({
  success: Type.Boolean({ description: 'Whether anything was deleted.' }),
  message: Type.String({ description: 'What was done.' }),
  deletedFiles: Type.Array(Type.Object({
    type: Type.String({ description: 'model, preview or sidecar.' }), path: Type.String({ description: 'File name.' })
  }), { description: 'The deleted files.' }),
  clearedCount: Type.Integer({ description: 'Model files among them.' }),
  errors: Type.Array(Type.String(), { description: 'What was left alone and why.' })
}, { $id: 'ModelDeletion' })

/** What persons wrote beside files. */
const personWords = {
  name: Nullable(Type.String(), { description: 'Name.' }),
  base_model: Nullable(Type.String(), { description: 'Base model.' }),
  description: Nullable(Type.String(), { description: 'Description.' }),
  notes: Nullable(Type.String(), { description: 'Notes.' }),
  tags: Type.Array(Type.String(), { description: 'Tags.' }),
  trigger_words: Type.Array(Type.String(), { description: 'Trigger words.' }),
  recommended_weight: Nullable(Type.Number(), { description: 'Weight.' }),
  civitai_nsfw: Nullable(Type.Boolean(), { description: 'Whether it is marked as not safe for work.' })
}

export const DuplicatesView = Type.Object({
  success,
  count: Type.Integer({ description: 'Files that could be deleted.' }),
  bytes: Type.Integer({ description: 'Space that this would free.' }),
  groups: Type.Array(Type.Object({
    hash: Type.String({ description: 'The SHA-256 that all of the group have.' }),
    files: Type.Array(Type.Object({
      filename: Type.String({ description: 'File name.' }),
      path: Type.String({ description: 'Within the folder of its type.' }),
      folder: Type.String({ description: 'Name of the configured folder.' }),
      keep: Type.Boolean({ description: 'Whether it is the one to be kept.' }),
      written: Type.Object(personWords, { description: 'What a person wrote beside this file.' })
    }), { description: 'The one to be kept, then the others.' }),
    written: Type.Object(personWords, { description: 'The same of all files together: what is beside the one that is kept after a clean-up.' })
  }), { description: 'Groups of equal files.' })
}, { $id: 'ModelDuplicates' })

const count = (description: string) => Type.Integer({ minimum: 0, description })

export const ScanView = Type.Object({
  success,
  message: Type.String({ description: 'State as a sentence.' }),
  state: StringEnum(['never', 'waiting', 'running', 'completed', 'stopped', 'failed'], { description: 'State.' }),
  phase: Nullable(StringEnum(['reading', 'hashing']), { description: 'What it is or was at last doing.' }),
  started_at: Nullable(Timestamp('Its begin.')),
  ended_at: Nullable(Timestamp('Its end.')),
  cancelled: Type.Boolean({ description: 'Whether it was stopped.' }),
  stats: Type.Object({
    total: count('Model files met.'),
    added: count('New ones.'),
    updated: count('Changed ones, and those with a changed sidecar.'),
    skipped: count('Unchanged ones.'),
    errors: count('Files and folders that could not be read.'),
    deleted: count('Deleted files.'),
    hashesCalculated: count('Hashes computed.'),
    hashErrors: count('Hashes that could not be computed.'),
    hashesSkipped: count('Files whose hash was known already.'),
    hashesWaiting: count('Hashes still to be computed.'),
    civitaiCalls: count('Requests to Civitai: none, a scan sends no requests.'),
    duplicates: Type.Object({
      count: count('Files that are there once more than needed.'),
      groups: Type.Array(Type.Object({
        hash: Type.String({ description: 'The SHA-256 that all of them have.' }),
        files: Type.Array(Type.Object({
          filename: Type.String({ description: 'File name.' }),
          path: Type.String({ description: 'Within the folder of its type.' })
        }), { description: 'Equal files.' })
      }), { description: 'As in /api/v1/models/duplicates.' })
    }, { description: 'Files of equal content, as known now.' })
  }, { description: 'What it did so far.' }),
  problems: Type.Array(Type.String(), { description: 'What was passed over and why, the first of many.' }),
  broken: Type.Array(Type.Object({
    path: Type.String({ description: 'On this machine.' }),
    reason: Type.String({ description: 'What it is instead of a model.' })
  }), { description: 'Files with a model\'s name that are none, the first of many: empty ones, web pages, pointers of Git LFS.' }),
  unreadable_sidecars: Type.Array(Type.Object({
    path: Type.String({ description: 'On this machine.' }),
    reason: Type.String({ description: 'Why it cannot be read.', examples: ['is not valid UTF-8; save it in that encoding'] })
  }), { description: 'Files beside models that cannot be read, the first of many. They stay as they are.' })
}, { $id: 'ModelScan' })
export type ScanView = Static<typeof ScanView>

export const HashInfo = Type.Object({
  success,
  model: Type.Object({
    id: Type.Integer({ description: 'Its id.' }),
    filename: Type.String({ description: 'File name.' }),
    hasHash: Type.Boolean({ description: 'Whether its hash is known.' }),
    existingHash: Nullable(Type.String(), { description: 'The SHA-256, or its first ten digits if a server reports no more.' })
  }, { description: 'The model.' }),
  fileInfo: Type.Object({
    size: Nullable(Type.String(), { description: 'For people; null where only servers have the file.', examples: ['6.5 GB'] }),
    sizeBytes: Nullable(count('Bytes.'), { description: 'Bytes.' }),
    canCalculateHash: Type.Boolean({ description: 'Whether this machine can see the file.' }),
    reason: Nullable(Type.String(), { description: 'Why it cannot be computed.' }),
    estimatedTime: Nullable(Type.Integer(), { description: 'Seconds on an ordinary disk.' }),
    estimatedTimeDisplay: Nullable(Type.String(), { description: 'The same for people.', examples: ['about 33 s'] })
  }, { description: 'Effort to compute it.' })
}, { $id: 'ModelHashInfo' })

export const HashAnswer = Type.Object({
  success,
  message: Type.String({ description: 'What was done.' }),
  hash: Type.String({ description: 'SHA-256 of the whole file.' }),
  hash_autov2: Type.String({ description: 'Its first ten digits.' }),
  hash_autov3: Nullable(Type.String(), { description: 'Of safetensors files: hash without the header.' }),
  fileSize: count('Bytes.'),
  calculationTime: Type.Number({ description: 'Milliseconds that it took.' })
}, { $id: 'ModelHash' })

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
