import { Type } from '@sinclair/typebox'
import { Nullable, success } from './kit.ts'

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
