import { Type, type Static } from '@sinclair/typebox'
import { Nullable, StringEnum, success, Timestamp } from './kit.ts'

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
