import { Type, type Static } from '@sinclair/typebox'
import { Nullable, Ref } from './kit.ts'

const texts = (description: string, example: string[]) =>
  Type.Array(Type.String({ maxLength: 500 }), { description, examples: [example], maxItems: 200 })
const text = (description: string, example: string) =>
  Type.String({ description, examples: [example], maxLength: 20_000 })
const strengths = (description: string) => Type.Array(Type.Number({ minimum: -10, maximum: 10 }), {
  description, minItems: 2, maxItems: 2, examples: [[0.6, 1]]
})
const file = text('File name, with its extension if known; for use in a session.', 'character_lora.safetensors')
const civitaiId = Nullable(Type.Integer(), { description: 'Model id at Civitai.' })
const thumbnail = Nullable(Type.String({ maxLength: 2000 }), {
  description: 'Address of a picture; it answers 404 if the server has none.', examples: ['/api/v1/models/12/preview']
})

export const LoraInfo = Type.Object({
  filename: file,
  name: text('Name for people.', 'Character Lora'),
  tags: texts('What it is about.', ['anime', 'character']),
  trigger_words: texts('Words that bring it out.', ['charactername']),
  strength_range: strengths('Weights that work well, from and to.'),
  description: Nullable(Type.String(), { description: 'Plain text.' }),
  thumbnail,
  civitai_id: civitaiId,
  id: Type.Integer({ description: 'In the catalogue of models.' }),
  path: Type.String({ description: 'Within the folder of LoRAs.', examples: ['people/character_lora.safetensors'] }),
  base_model: Nullable(Type.String(), { description: 'What it was made for, where known.' }),
  preferred_weight: Nullable(Type.Number(), { description: 'The weight that its owner wrote down.' }),
  servers: Type.Array(Type.String(), { description: 'Aliases of the servers that have it.' }),
  edited: Type.Array(Type.String(), { description: 'Fields edited here; no scan changes them.' }),
  score: Type.Optional(Type.Number({ description: 'With a search: how well it fits. 2 and more: the text is contained as it is.' }))
}, { $id: 'LoraInfo', description: 'A LoRA.' })
export type LoraInfo = Static<typeof LoraInfo>

export const LoraQuery = Type.Object({
  search: Type.Optional(Type.String({ maxLength: 200, description: 'Text out of name, file, tags, trigger words or description. Misspelled words are found where nothing contains them as they are.', examples: ['character'] })),
  limit: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000, default: 50, description: 'How many.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000_000, default: 0, description: 'How many are passed over.' })),
  tag: Type.Optional(Type.String({ maxLength: 200, description: 'Only those with this tag.' })),
  base_model: Type.Optional(Type.String({ maxLength: 100, description: 'Only those made for this.', examples: ['SDXL'] })),
  server: Type.Optional(Type.String({ maxLength: 64, description: 'Only those that the server with this alias has.' }))
})
export type LoraQuery = Static<typeof LoraQuery>

export const LoraList = Type.Object({
  loras: Type.Array(Ref(LoraInfo), { description: 'By name, or best first.' }),
  total: Type.Integer({ description: 'How many are in this answer.' }),
  total_available: Type.Integer({ description: 'How many fit in all.' })
}, { $id: 'LoraList', description: 'LoRAs.' })

export const LoraChoices = Type.Object({
  choices: Type.Array(Type.Object({
    name: Type.String({ maxLength: 100, description: 'What to show.' }),
    value: Type.String({ maxLength: 100, description: 'Name for use in a session.' })
  }), { description: 'At most 25, as Discord shows no more.' })
}, { $id: 'LoraChoices', description: 'Completions as Discord wants them.' })

export const LoraTags = Type.Object({
  tags: Type.Array(Type.Object({
    tag: Type.String({ description: 'The tag.' }),
    count: Type.Integer({ description: 'How many LoRAs have it.' })
  }), { description: 'Most used first.' })
}, { $id: 'LoraTags', description: 'Tags of LoRAs.' })

export const LoraScan = Type.Object({
  message: Type.String({ description: 'The same as a sentence.', examples: ['Scanned and found 12 LoRAs'] }),
  details: Type.Object({
    count: Type.Integer({ description: 'LoRAs that are known now.' }),
    new: Type.Integer({ description: 'Those that were not known before.' }),
    updated: Type.Integer({ description: 'Those of which something else is known than before.' }),
    total_scanned: Type.Integer({ description: 'LoRAs that servers named.' }),
    servers: Type.Array(Type.Object({
      alias: Type.String({ description: 'The server.' }),
      loras: Type.Integer({ description: 'LoRAs that it named.' }),
      error: Nullable(Type.String(), { description: 'Why it named none.' })
    }), { description: 'Every enabled server.' }),
    folders: Type.Boolean({ description: 'Whether a scan of the model folders runs in the background.' })
  }, { description: 'In numbers.' })
}, { $id: 'LoraScan', description: 'What a scan found.' })
export type LoraScan = Static<typeof LoraScan>

/** Null takes an edit back. */
export const LoraEdit = Type.Object({
  name: Type.Optional(Nullable(text('Name for people.', 'Character Lora'))),
  tags: Type.Optional(Nullable(texts('What it is about.', ['anime']))),
  trigger_words: Type.Optional(Nullable(texts('Words that bring it out.', ['charactername']))),
  strength_range: Type.Optional(Nullable(strengths('Weights that work well, from and to.'))),
  description: Type.Optional(Nullable(text('What it is.', 'My own character.'))),
  thumbnail: Type.Optional(thumbnail),
  civitai_id: Type.Optional(civitaiId)
}, { $id: 'LoraEdit', description: 'Edits by a person. null removes an edit.' })
export type LoraEdit = Static<typeof LoraEdit>

export const LoraReference = Type.Object({
  filename: Type.String({ minLength: 1, maxLength: 512, description: 'File name with or without ending, or its path, url-encoded.', examples: ['character_lora'] })
})

export const LoraEnrichQuery = Type.Object({
  force: Type.Optional(Type.Boolean({ default: false, description: 'Whether to ask again although an answer is stored.' }))
})
