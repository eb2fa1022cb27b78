import { Type, type Static } from '@sinclair/typebox'
import { Nullable, StringEnum, success, Timestamp } from './kit.ts'

const count = (description: string) => Type.Integer({ minimum: 0, description })

export const ScanView = Type.Object({
  success,
  message: Type.String({ description: 'How it stands, in words.' }),
  state: StringEnum(['never', 'waiting', 'running', 'completed', 'stopped', 'failed'], { description: 'How it stands.' }),
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
    deleted: count('Files that are gone.'),
    hashesCalculated: count('Hashes computed.'),
    hashErrors: count('Hashes that could not be computed.'),
    hashesWaiting: count('Hashes still to be computed.')
  }, { description: 'What it did so far.' }),
  problems: Type.Array(Type.String(), { description: 'What was passed over and why, the first of many.' })
}, { $id: 'ModelScan' })
export type ScanView = Static<typeof ScanView>

export const HashAnswer = Type.Object({
  success,
  message: Type.String({ description: 'What was done.' }),
  hash: Type.String({ description: 'SHA-256 of the whole file.' }),
  hash_autov2: Type.String({ description: 'Its first ten digits.' }),
  hash_autov3: Nullable(Type.String(), { description: 'Of safetensors files: hash without the header.' }),
  fileSize: count('Bytes.'),
  calculationTime: Type.Number({ description: 'Milliseconds that it took.' })
}, { $id: 'ModelHash' })
