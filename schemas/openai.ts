import { Type, type SchemaOptions, type Static, type TSchema } from '@sinclair/typebox'
import { Closed, Ref } from './kit.ts'

/** OpenAI's images API, as its reference and its packages have it. */

/** A field that clients can leave out, also by sending null. */
function Optional<Schema extends TSchema> (schema: Schema) {
  const { enum: values } = schema
  return Type.Optional(Type.Unsafe<Static<Schema> | null>({
    ...schema, type: [schema.type, 'null'], ...(Array.isArray(values) ? { enum: [...values, null] } : {})
  }))
}

function Word<const Values extends readonly string[]> (values: Values, options: SchemaOptions) {
  return Optional(Type.Unsafe<Values[number]>({ type: 'string', enum: values, ...options }))
}

/** OpenAI's longest prompt. */
const longestPrompt = 32_000
/** As many as OpenAI makes at once. */
const mostImages = 10

const prompt = Type.String({
  minLength: 1, maxLength: longestPrompt, description: 'What to generate.', examples: ['a lighthouse at dusk']
})

const commonFields = {
  model: Optional(Type.String({
    maxLength: 500,
    description: 'A checkpoint, by the id of `GET /v1/models` or any other name or hash of it. Without one, and for the ' +
      'names of OpenAI\'s own models, the checkpoint that the server has loaded.',
    examples: ['juggernaut-xl']
  })),
  n: Optional(Type.Integer({ minimum: 1, maximum: mostImages, description: 'Number of images. Default: 1.', examples: [1] })),
  size: Optional(Type.String({
    maxLength: 20,
    description: '`auto`, or width x height in multiples of 8. `auto` is 1024x1024, or what the checkpoint was trained for ' +
      'if that is known; of an edit, the size of the image.',
    examples: ['1024x1024']
  })),
  response_format: Word(['url', 'b64_json'], {
    description: '`url`: a link that works without a key for an hour. Without it, both; for the names of OpenAI\'s models, ' +
      'what these answer.',
    examples: ['b64_json']
  }),
  user: Optional(Type.String({ maxLength: 256, description: 'User of the client; the `user_id` of the job.', examples: ['ann'] }))
}

const outputFields = {
  quality: Word(['standard', 'hd', 'low', 'medium', 'high', 'auto'], {
    description: '`low`: 10 sampling steps, `high` and `hd`: 40; otherwise 20.', examples: ['medium']
  }),
  background: Word(['transparent', 'opaque', 'auto'], {
    description: 'Checkpoints generate opaque images: `transparent` is refused.', examples: ['opaque']
  }),
  output_format: Word(['png', 'jpeg', 'webp'], { description: 'Format of the images. Default: as the server makes them.', examples: ['png'] }),
  output_compression: Optional(Type.Integer({
    minimum: 0, maximum: 100, description: 'With `jpeg` and `webp`: their quality. Of a `png`, only 100.', examples: [90]
  })),
  stream: Optional(Type.Boolean({ description: 'Answer with server-sent events.', examples: [false] })),
  partial_images: Optional(Type.Integer({
    minimum: 0, maximum: 3, description: 'With `stream`: previews before the images, if the server shows any.', examples: [0]
  }))
}

export const OpenAiGeneration = Closed({
  prompt,
  ...commonFields,
  ...outputFields,
  moderation: Word(['low', 'auto'], { description: 'Accepted without effect: nothing is moderated here.', examples: ['auto'] }),
  style: Word(['vivid', 'natural'], { description: 'Accepted without effect: only DALL-E 3 has styles.', examples: ['vivid'] })
}, {
  $id: 'OpenAiGeneration',
  description: 'Images to generate, as OpenAI\'s API takes them.',
  examples: [{ prompt: 'a lighthouse at dusk', size: '512x512', quality: 'low' }]
})
export type OpenAiGeneration = Static<typeof OpenAiGeneration>

/** On the wire a text; inside, a large one is an upload. */
const picture = (options: SchemaOptions) => Type.Unsafe<unknown>({ type: 'string', ...options })

export const OpenAiImageSource = Closed({
  image_url: Type.Optional(picture({ description: 'An `https` address or a data URL.' })),
  file_id: Type.Optional(Type.String({ description: 'Refused: there are no files to refer to here.' }))
}, { $id: 'OpenAiImageSource', description: 'An image that a JSON request refers to.' })

const editFields = {
  ...commonFields,
  ...outputFields,
  input_fidelity: Word(['low', 'high'], {
    description: 'How much of the image stays: `low` (denoising 0.75) or `high` (0.45).', examples: ['low']
  }),
  moderation: Word(['low', 'auto'], { description: 'Accepted without effect.', examples: ['auto'] })
}

export const OpenAiEdit = Closed({
  prompt,
  image: Type.Optional(Type.Unsafe<unknown>({
    type: ['array', 'string'], items: { type: 'string' }, description: 'The image: base64, a data URL or an `https` address.'
  })),
  images: Type.Optional(Type.Array(Ref(OpenAiImageSource), { maxItems: 16, description: 'The same, as OpenAI\'s JSON has it.' })),
  mask: Type.Optional(Type.Unsafe<unknown>({
    type: ['object', 'string', 'null'],
    description: 'A picture of the same size whose transparent part is edited: as `images` have it, or as text.'
  })),
  ...editFields
}, { $id: 'OpenAiEdit', description: 'An image to edit.' })

const files = Type.Unsafe<unknown>({
  type: 'array', items: { type: 'string', format: 'binary' }, description: 'The image: one file, as `image` or `image[]`.'
})

export const OpenAiEditForm = Closed({
  prompt,
  image: files,
  mask: Type.Optional(Type.Unsafe<unknown>({
    type: 'string', format: 'binary', description: 'A picture of the same size whose transparent part is edited.'
  })),
  ...editFields
}, { $id: 'OpenAiEditForm', description: 'An image to edit, as a form.' })
export type OpenAiEdit = Static<typeof OpenAiEditForm>

export const OpenAiVariationForm = Closed({ image: files, ...commonFields }, {
  $id: 'OpenAiVariationForm', description: 'An image to vary.'
})

const tokens = (description: string) => Type.Integer({ description })

export const OpenAiUsage = Type.Object({
  input_tokens: tokens('Always 0: no tokens are counted here.'),
  input_tokens_details: Type.Object({
    image_tokens: tokens('Always 0.'), text_tokens: tokens('Always 0.')
  }, { description: 'The same in parts.' }),
  output_tokens: tokens('Always 0.'),
  total_tokens: tokens('Always 0.')
}, { $id: 'OpenAiUsage', description: 'Tokens, which OpenAI bills.' })

export const OpenAiImages = Type.Object({
  created: Type.Integer({ description: 'When the job ended, in seconds since 1970.' }),
  data: Type.Array(Type.Object({
    url: Type.Optional(Type.String({ description: 'A link to the image, valid for an hour.' })),
    b64_json: Type.Optional(Type.String({ description: 'The image as base64.' }))
  }), { description: 'The images.' }),
  background: Type.String({ description: 'Always `opaque`.' }),
  output_format: Type.String({ description: 'Format of the images.' }),
  quality: Type.String({ description: '`low`, `medium` or `high`.' }),
  size: Type.String({ description: 'Width x height of the images.' }),
  usage: Ref(OpenAiUsage)
}, { $id: 'OpenAiImages', description: 'Finished images.' })

export const OpenAiModel = Type.Object({
  id: Type.String({ description: 'Its name for requests.' }),
  object: Type.Literal('model', { description: 'Always `model`.' }),
  created: Type.Integer({ description: 'Age of its file, in seconds since 1970; 0 if that is unknown.' }),
  owned_by: Type.String({ description: 'Its base model, or `stablequeue`.' })
}, { $id: 'OpenAiModel', description: 'A checkpoint.' })

export const OpenAiModelList = Type.Object({
  object: Type.Literal('list', { description: 'Always `list`.' }),
  data: Type.Array(Ref(OpenAiModel), { description: 'Checkpoints of the servers, by name.' })
}, { $id: 'OpenAiModelList', description: 'Checkpoints of the servers.' })

export const OpenAiError = Type.Object({
  error: Type.Object({
    message: Type.String({ description: 'What is wrong and what would be right.' }),
    type: Type.String({ description: 'Kind of error.', examples: ['invalid_request_error'] }),
    param: Type.Unsafe<string | null>({ type: ['string', 'null'], description: 'The field that is wrong.' }),
    code: Type.Unsafe<string | null>({ type: ['string', 'null'], description: 'For programs.', examples: ['model_not_found'] })
  }, { description: 'The error.' })
}, { $id: 'OpenAiError', description: 'An error, as OpenAI reports it.' })
export type OpenAiError = Static<typeof OpenAiError>
