import { Type } from '@sinclair/typebox'
import { success } from './kit.ts'

export const DeletionAnswer = Type.Object({
  success: Type.Boolean({ description: 'Whether anything was deleted.' }),
  message: Type.String({ description: 'What was done.' }),
  deletedFiles: Type.Array(Type.Object({
    type: Type.String({ description: 'model, preview or sidecar.' }), path: Type.String({ description: 'File name.' })
  }), { description: 'What is gone now.' }),
  clearedCount: Type.Integer({ description: 'Model files among them.' }),
  errors: Type.Array(Type.String(), { description: 'What was left alone and why.' })
}, { $id: 'ModelDeletion' })

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
      keep: Type.Boolean({ description: 'Whether it is the one to be kept.' })
    }), { description: 'The one to be kept, then the others.' })
  }), { description: 'Groups of equal files.' })
}, { $id: 'ModelDuplicates' })
