import { Type, type Static } from '@sinclair/typebox'
import { Closed, needing, Nullable, Ref, StringEnum, Timestamp, success } from './kit.ts'
import { ModelType } from './model.ts'

const statuses = ['pending', 'downloading', 'completed', 'failed', 'cancelled'] as const

export const DownloadView = Type.Object({
  id: Type.String({ description: 'The download.' }),
  status: StringEnum(statuses, { description: 'State.' }),
  source: StringEnum(['civitai', 'huggingface'], { description: 'Where it comes from.' }),
  model_name: Type.String({ description: 'Name at the source.' }),
  model_version_id: Nullable(Type.Integer(), { description: 'Version id at Civitai.' }),
  type: ModelType,
  target_filename: Type.String({ description: 'File name here.' }),
  bytes_received: Type.Integer({ description: 'Bytes that are here.' }),
  bytes_total: Nullable(Type.Integer(), { description: 'Total bytes, if the source reports them.' }),
  progress: Type.Number({ description: '0 to 100.' }),
  error_message: Nullable(Type.String(), { description: 'What went wrong last.' }),
  created_at: Timestamp('Time of the request.'),
  completed_at: Nullable(Timestamp('When it finished.'))
}, { $id: 'DownloadView' })
export type DownloadView = Static<typeof DownloadView>

const filename = (description: string) => Type.Optional(Type.String({ maxLength: 255, description }))
const target = {
  type: Type.Optional(ModelType),
  filename: filename('Another name for the file; its ending stays.')
}
const withoutEffect = Type.Optional(Type.Unknown({ description: 'Of older clients; without effect.' }))

export const DownloadRequest = Closed({
  source: Type.Optional(Type.String({
    maxLength: 800, description: 'A file at HuggingFace.', examples: ['hf:stabilityai/sd-vae-ft-mse@main/diffusion_pytorch_model.safetensors']
  })),
  modelVersionId: Type.Optional(Type.Union([Type.Integer({ minimum: 1 }), Type.String({ pattern: '^\\d{1,15}$' })], {
    description: 'Instead of source: a version at Civitai.'
  })),
  ...target,
  targetFilename: filename('Same as filename.'),
  modelId: withoutEffect,
  modelName: withoutEffect,
  priority: withoutEffect,
  downloadUrl: withoutEffect,
  fileSizeKb: withoutEffect
}, needing(['source', 'type'], ['modelVersionId']))

export const CivitaiDownloadRequest = Closed({
  civitaiModelVersionId: Type.Union([Type.Integer({ minimum: 1 }), Type.String({ pattern: '^\\d{1,15}$' })], {
    description: 'Version at Civitai.'
  }),
  targetType: Type.Optional(ModelType),
  filenameOverride: target.filename,
  priority: withoutEffect
})

export const DownloadStarted = Type.Object({
  success,
  message: Type.String({ description: 'What was done.' }),
  downloadId: Type.String({ description: 'The download.' }),
  modelName: Type.String({ description: 'Name at the source.' }),
  type: ModelType,
  filename: Type.String({ description: 'File name here.' })
}, { $id: 'DownloadStarted' })

export const DownloadAnswer = Type.Object({ success, download: Ref(DownloadView) }, { $id: 'DownloadAnswer' })

export const DownloadList = Type.Object({
  success,
  downloads: Type.Array(Ref(DownloadView), { description: 'Newest first.' }),
  queue: Type.Object({
    activeDownloads: Type.Array(Ref(DownloadView), { description: 'Those coming in.' }),
    pendingDownloads: Type.Array(Ref(DownloadView), { description: 'Those that wait.' }),
    completedDownloads: Type.Array(Ref(DownloadView), { description: 'Those that are here.' }),
    failedDownloads: Type.Array(Ref(DownloadView), { description: 'Those that failed or were cancelled.' })
  }, { description: 'The same by state, as older clients read it.' })
}, { $id: 'DownloadList' })
