import { Type, type Static } from '@sinclair/typebox'
import { Closed, Nullable, Ref, success, Timestamp } from './kit.ts'
import { ModelCivitai, ModelView } from './model.ts'

const civitaiId = (description: string) => Type.Union([
  Type.Integer({ minimum: 1 }), Type.String({ pattern: '^\\d{1,15}$' })
], { description })

export const RefreshRequest = Closed({
  modelVersionId: Type.Optional(civitaiId('Version at Civitai, if its hash does not identify it.')),
  modelId: Type.Optional(civitaiId('Model at Civitai; its newest version is taken.')),
  modelName: Type.Optional(Type.String({ maxLength: 1000, description: 'Of older clients; without effect.' }))
}, { $id: 'RefreshRequest' })
export type RefreshRequest = Static<typeof RefreshRequest>

export const RefreshAnswer = Type.Object({
  success,
  message: Type.String({ description: 'What was done.' }),
  metadata: Type.Object({
    model_name: Nullable(Type.String(), { description: 'Name of the model.' }),
    version_name: Nullable(Type.String(), { description: 'Name of the version.' }),
    base_model: Nullable(Type.String(), { description: 'What it was made for.' }),
    civitai_id: Nullable(Type.Integer(), { description: 'Model id at Civitai.' }),
    civitai_version_id: Nullable(Type.Integer(), { description: 'Version id at Civitai.' }),
    trained_words: Type.Array(Type.String(), { description: 'Trigger words.' })
  }, { description: 'What Civitai said, in short.' }),
  model: Type.Composite([ModelView, Type.Object({
    modelVersionId: Nullable(Type.Integer(), { description: 'Same as civitai_version_id.' }),
    update_timestamp: Nullable(Timestamp('Time of the request to Civitai.'))
  })], { description: 'The model as it is now.' })
}, { $id: 'RefreshAnswer' })

const statistic = (description: string) => Nullable(Type.Number({ minimum: 0 }), {
  description: `${description}; null where Civitai did not say.`
})

const ModelDetails = Type.Composite([ModelView, Type.Object({
  fullPath: Type.String({ description: 'Same as path: details of this machine stay private.' }),
  hash: Nullable(Type.String(), { description: 'Same as hash_autov2.' }),
  civitai_data: Nullable(Ref(ModelCivitai), { description: 'Same as civitai, or null.' }),
  model_version_id: Nullable(Type.Integer(), { description: 'Same as civitai_version_id.' }),
  civitai_name: Nullable(Type.String(), { description: 'Name of the model at Civitai.' }),
  preview_images: Type.Array(Type.String(), { description: 'Same as previews.' }),
  downloads: statistic('Times it was downloaded from Civitai'),
  favorited: statistic('Likes at Civitai'),
  rating: statistic('0 to 5, by people at Civitai')
})])
export type ModelDetails = Static<typeof ModelDetails>

/** The fields of the model stand at the top, as its clients read them, and in `model`, as their documents say. */
export const ModelInfo = Type.Composite([ModelDetails, Type.Object({
  success,
  model: { ...ModelDetails, description: 'The model.' } as typeof ModelDetails,
  civitai_fetch_error: Type.Optional(Type.String({ description: 'Why Civitai did not answer.' }))
})], { $id: 'ModelInfo' })

export const ImageInfoView = Type.Object({
  success,
  generationParams: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number()]), {
    description: 'Ready to be sent as generation_params.'
  }),
  resources: Type.Array(Type.Object({
    resourceName: Type.String({ description: 'Its name at Civitai.' }),
    type: Type.String({ description: 'Civitai\'s word for its type.' }),
    civitaiModelVersionId: Nullable(Type.Integer(), { description: 'Version id at Civitai.' }),
    weight: Nullable(Type.Number(), { description: 'Of a LoRA.' }),
    isLocal: Type.Boolean({ description: 'Whether the catalogue has it.' }),
    model_id: Nullable(Type.Integer(), { description: 'Its id here.' })
  }), { description: 'Models that it was made with.' })
}, { $id: 'CivitaiImageInfo' })

export const CivitaiUser = Type.Object({
  success,
  username: Nullable(Type.String(), { description: 'Whose key it is.' }),
  id: Nullable(Type.Integer(), { description: 'Their number.' }),
  email: Nullable(Type.String(), { description: 'If Civitai reports it.' })
}, { $id: 'CivitaiUser' })
