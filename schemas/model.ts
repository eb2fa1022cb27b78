import { Type, type Static } from '@sinclair/typebox'
import { nextCursor, Nullable, OffsetCursor, Ref, StringEnum, success, Timestamp } from './kit.ts'

export const modelTypes = ['checkpoint', 'lora', 'vae', 'embedding', 'upscaler', 'controlnet', 'other'] as const
export const ModelType = StringEnum(modelTypes, { description: 'What the model is for. LyCORIS files are LoRAs.' })
export type ModelType = Static<typeof ModelType>

const texts = (description: string) => Type.Array(Type.String(), { description })
const count = (description: string) => Type.Integer({ minimum: 0, description })

export const ModelServer = Type.Object({
  alias: Type.String({ description: 'The server.' }),
  title: Type.String({ description: 'Its own name for the model, for use in a job.' }),
  hash: Nullable(Type.String(), { description: 'First ten digits of the SHA-256, if the server reports them.' })
}, { $id: 'ServerOfModel' })

export const ModelImage = Type.Object({
  url: Type.String({ description: 'Where to get it from this service.' }),
  nsfw: Type.Boolean({ description: 'Whether Civitai marks it as not safe for work.' }),
  width: Nullable(Type.Integer(), { description: 'Pixels, where known.' }),
  height: Nullable(Type.Integer(), { description: 'Pixels, where known.' })
}, { $id: 'ExampleImage' })

export const ModelCivitai = Type.Object({
  id: Nullable(Type.Integer(), { description: 'Version id at Civitai.' }),
  modelId: Nullable(Type.Integer(), { description: 'Model id at Civitai.' }),
  name: Nullable(Type.String(), { description: 'Name of the version.' }),
  model: Type.Object({
    name: Nullable(Type.String(), { description: 'Name of the model.' }),
    type: Nullable(Type.String(), { description: 'Civitai\'s word for its type, such as LoCon.' }),
    nsfw: Type.Boolean({ description: 'Whether Civitai marks it as not safe for work.' })
  }, { description: 'The model that it is a version of.' }),
  baseModel: Nullable(Type.String(), { description: 'What it was made for, such as SDXL 1.0.' }),
  trainedWords: texts('Trigger words.'),
  downloadUrl: Nullable(Type.String(), { description: 'Where Civitai offers it.' }),
  images: Type.Array(Ref(ModelImage), { description: 'Examples, served from here.' }),
  fetched_at: Nullable(Timestamp('Time of the request to Civitai; null if the data come from a file.'))
}, { $id: 'CivitaiFacts', description: 'What Civitai says.' })

const MetadataSource = StringEnum(['forge', 'civitai', 'embedded', 'none'], { description: 'Who is believed first about it.' })

const ModelTraining = Type.Object({
  output_name: Nullable(Type.String(), { description: 'The name that it was saved under.' }),
  trained_on: Nullable(Type.String(), { description: 'File of the checkpoint that it was trained on.' }),
  resolution: Nullable(Type.String(), { description: 'Of the pictures.', examples: ['1024x1024'] }),
  dim: Nullable(Type.Number(), { description: 'Rank of the network.' }),
  alpha: Nullable(Type.Number(), { description: 'Alpha of the network.' })
})

/** A model with the field names of every client: several stand for the same thing. */
export const ModelView = Type.Object({
  id: Type.Integer({ description: 'Stays the same while its hash or path does.' }),
  name: Type.String({ description: 'For people.' }),
  type: ModelType,
  lycoris: Type.Boolean({ description: 'Whether it is a LyCORIS file.' }),
  filename: Type.String({ description: 'File name, with ending where it is known.' }),
  path: Type.String({ description: 'Within the folder of its type, with forward slashes.' }),
  relativePath: Type.String({ description: 'Folder part of path; / at the top.' }),
  local_path: Type.String({ description: 'The same, but empty at the top.' }),
  base_model: Nullable(Type.String(), { description: 'What it was made for, where known.' }),
  baseModel: Nullable(Type.String(), { description: 'Same as base_model.' }),
  base_family: Nullable(Type.String(), { description: 'Architecture that it shares with others, such as SDXL of Pony and Illustrious.' }),
  size: Nullable(count('Bytes, where the file is on this machine.')),
  created: Nullable(Timestamp('When the file was made.')),
  modified: Nullable(Timestamp('When the file last changed.')),
  hash_sha256: Nullable(Type.String(), { description: 'Of the whole file, lower case; null until computed or reported by a server.' }),
  hash_autov2: Nullable(Type.String(), { description: 'First ten digits of the SHA-256.' }),
  hash_autov3: Nullable(Type.String(), {
    description: 'Of LoRAs: hash without the header. If only a server has the file, as its trainer wrote it.'
  }),
  description: Nullable(Type.String(), { description: 'Harmless HTML or plain text.' }),
  notes: Nullable(Type.String(), { description: 'The owner\'s own.' }),
  tags: texts('Tags of the owner, of Civitai and of the training.'),
  trigger_words: texts('Words that bring it out.'),
  recommended_weight: Nullable(Type.Number(), { description: 'Of LoRAs, where the owner wrote one down.' }),
  training: Nullable(ModelTraining, { description: 'How a LoRA was made, where it is written in it.' }),
  has_preview: Type.Boolean({ description: 'Whether there is a picture.' }),
  preview_url: Nullable(Type.String(), { description: 'The first picture.' }),
  previewAvailable: Type.Boolean({ description: 'Same as has_preview.' }),
  previewPath: Nullable(Type.String(), { description: 'Same as preview_url.' }),
  previews: texts('All pictures.'),
  civitai_id: Nullable(Type.Integer(), { description: 'Model id at Civitai.' }),
  civitai_version_id: Nullable(Type.Integer(), { description: 'Version id at Civitai.' }),
  civitai_url: Nullable(Type.String(), { description: 'Its page at Civitai.' }),
  civitai_nsfw: Type.Boolean({ description: 'Whether its owner, or else Civitai, marks it as not safe for work.' }),
  civitai: Type.Optional(Ref(ModelCivitai)),
  servers: Type.Array(Ref(ModelServer), { description: 'Servers that have it.' }),
  on_disk: Type.Boolean({ description: 'Whether this machine can see the file.' }),
  metadata_source: MetadataSource,
  _metadata_source: { ...MetadataSource, description: 'Same as metadata_source.' },
  is_duplicate: Type.Boolean({ description: 'Whether this machine has the same content more than once.' }),
  duplicate_group_size: count('Equal files on this machine.')
}, { $id: 'ModelView' })
export type ModelView = Static<typeof ModelView>

export const ModelQuery = Type.Object({
  type: Type.Optional(StringEnum([...modelTypes, 'all'], {
    description: 'Only models of this type; all for those of every type. Without it: checkpoints and LoRAs.'
  })),
  baseModel: Type.Optional(Type.String({ maxLength: 100, description: 'Only models made for this, by any word for it, such as SDXL 1.0 or sdxl_base_v1-0.' })),
  server: Type.Optional(Type.String({ maxLength: 64, description: 'Only models that the server with this alias has.' })),
  search: Type.Optional(Type.String({ maxLength: 200, description: 'Words out of name, file, alias, tags, triggers or description; best first.' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, default: 1000, description: 'Models a page.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000_000, default: 0, description: 'Models to pass over.' })),
  cursor: Type.Optional(OffsetCursor)
})
export type ModelQuery = Static<typeof ModelQuery>

export const ModelListView = Type.Object({
  success,
  total: count('Models that fit.'),
  count: count('Models on this page.'),
  models: Type.Array(Ref(ModelView), { description: 'The page; by name, or best first with search.' }),
  next_cursor: nextCursor
}, { $id: 'ModelList' })

export const ModelAnswer = Type.Object({ success, model: Ref(ModelView) }, { $id: 'ModelAnswer' })

export const ModelReference = Type.Object({
  id: Type.String({ maxLength: 512, description: 'The id, the file name, or the url-encoded path.', examples: ['12'] })
})

/** What a rescan of one model did. */
export const RescanAnswer = Type.Object({
  success,
  message: Type.String({ description: 'What was done.' }),
  model: Ref(ModelView),
  operations: Type.Object({
    hashCalculated: Type.Boolean({ description: 'Whether it was hashed.' }),
    civitaiDataFetched: Type.Boolean({ description: 'Whether the data come from Civitai.' }),
    previewDownloaded: Type.Boolean({ description: 'Whether a picture of Civitai was fetched.' })
  }, { description: 'Actions beside reading its files.' })
}, { $id: 'ModelRescan' })

export const AvailabilityView = Type.Object({
  success,
  servers: Type.Array(Type.Object({
    server_id: Type.String({ description: 'Alias of the server.' }),
    title: Type.String({ description: 'Its own name for the model.' }),
    last_seen: Nullable(Timestamp('When the server was last read.'))
  }), { description: 'Servers that report the model.' })
}, { $id: 'ModelAvailability' })

/** A choice such as a sampler, and who offers it. */
export const ChoiceView = Type.Object({
  name: Type.String({ description: 'Name for use in a job.' }),
  label: Type.String({ description: 'For people.' }),
  aliases: texts('Other names that mean it.'),
  servers: texts('Aliases of the servers that offer it.')
}, { $id: 'ChoiceView' })
export type ChoiceView = Static<typeof ChoiceView>
