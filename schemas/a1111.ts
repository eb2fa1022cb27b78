import { type TProperties, type TSchema, Type } from '@sinclair/typebox'
import {
  apiFields, commonFields, denoisingFields, hiresFields, img2imgApiFields, img2imgFields, scriptFields
} from './a1111-fields.ts'
import { fieldsAsSent } from './generation-parameters.ts'
import { Nullable, Ref, StringEnum } from './kit.ts'
import { webhookFields } from './webhook.ts'

/**
 * Answers of A1111's own routes and of the services that stood beside it, for the document alone: they are written or
 * passed on as servers shape them, which may add fields of their own.
 */
const text = (description: string) => Type.String({ description })
const maybe = (description: string) => Nullable(Type.String(), { description })
const number = (description: string) => Type.Number({ description })
const whole = (description: string) => Type.Integer({ description })
const flag = (description: string) => Type.Boolean({ description })
const anything = (description: string) => Type.Unknown({ description })
const fields = (properties: TProperties, description: string) =>
  Type.Object(properties, { description, additionalProperties: true })
const named = ($id: string, description: string, properties: TProperties) =>
  Type.Object(properties, { $id, description, additionalProperties: true })
const list = (of: TProperties, description: string) => Type.Array(fields(of, 'An entry.'), { description })
const timestamp = (description: string) => Nullable(Type.String({ format: 'date-time' }), { description })

export const A1111Images = named('A1111Images', 'What A1111 answers to txt2img and img2img.', {
  images: Type.Array(text('An image, as base64.'), { description: 'Empty where `send_images` is false.' }),
  parameters: fields({}, 'The request as it was read.'),
  info: text('JSON text: seeds, prompts, infotexts and A1111\'s other data of a generation.')
})

export const A1111Error = named('A1111Error', 'A1111\'s answer to an error: its own errors have all ' +
  'of these, wrong fields and unknown routes only `detail`.', {
  error: Type.Optional(text('Name of the exception.')),
  detail: Type.Optional(anything('A sentence, or a list of `loc`, `msg` and `type` of each wrong field.')),
  body: Type.Optional(text('Empty.')),
  errors: Type.Optional(text('What the exception says.'))
})

/** The answer of async-proxy and the Job Tracker to an error. */
export const ProxyError = named('ProxyError', 'The answer of async-proxy and the Job Tracker to an error.', {
  error: text('What it is, in a sentence.')
})

export const ProxyAccepted = named('ProxyAccepted', 'Accepted; Location has the address of the job.', {
  uuid: text('Id of the job.')
})

export const A1111Progress = named('A1111Progress', 'Progress of the caller\'s own generation, idle where there is none.', {
  progress: number('0 to 1.'),
  eta_relative: number('Seconds until the end, as the server guesses.'),
  state: fields({
    skipped: flag('Whether the batch was skipped.'),
    interrupted: flag('Whether it was interrupted.'),
    job: text('What runs; empty when idle.'),
    job_count: whole('Batches; -1 while it waits, 0 when idle.'),
    job_no: whole('Which of them.'),
    sampling_step: whole('Step of this batch.'),
    sampling_steps: whole('Steps of this batch.')
  }, 'As A1111 reports it.'),
  current_image: maybe('Preview, as base64.'),
  textinfo: maybe('Text for people, such as the position in the queue.')
})

export const TrackerJob = named('TrackerJob', 'A job with its images, as the Job Tracker answers.', {
  id: text('8 letters and digits, as in X-Job-ID.'),
  prompt: text('Its prompt.'),
  status: StringEnum(['Pending', 'Processing', 'Completed', 'Failed'], { description: 'Its state.' }),
  timestamp: whole('Time of arrival, in seconds since the epoch.'),
  error: Type.Optional(text('Why it failed; only where it did.')),
  images: Type.Array(text('An image, as base64.'), { description: 'Empty until it is completed.' })
})

export const ProxyJob = named('ProxyJob', 'A job with its images, as async-proxy answers.', {
  uuid: text('Its id.'),
  job_status: text('pending, generating, completed, error or canceled; downloads and Florence have words of their own.'),
  progress: number('0 to 1.'),
  images: Type.Array(text('An image, as base64.'), { description: 'Empty until it is completed.' }),
  info: maybe('A1111\'s data of the generation, as JSON text; the error if it failed.')
})

export const ListedJob = named('ListedJob', 'A job in the words of both.', {
  uuid: text('Its id.'),
  job_status: text('In async-proxy\'s words.'),
  workflow: text('txt2img, img2img, civitai-download, asset-download or florence.'),
  retry_count: whole('How often it was begun again.'),
  progress: number('0 to 1.'),
  created_at: timestamp('Time of arrival.'),
  id: text('8 letters and digits, as in X-Job-ID.'),
  prompt: text('Its prompt.'),
  ip: text('Address of its caller; empty where none was kept.'),
  timestamp: whole('Time of arrival, in seconds since the epoch.'),
  status: text('In the Job Tracker\'s words.'),
  output_paths: Type.Array(text('Address of an image.'), { description: 'Its images.' })
})

export const Asset = named('Asset', 'A checkpoint or LoRA of the model folders, as async-proxy shows it.', {
  id: whole('Its id in /api/v1/models.'),
  kind: StringEnum(['model', 'lora'], { description: 'What it is.' }),
  name: maybe('For people.'),
  source_url: maybe('Its page at Civitai.'),
  example_prompt: maybe('Its trigger words.'),
  min: number('Least weight.'),
  max: number('Greatest weight.'),
  local_path: text('Within the folder of its type.'),
  created_at: timestamp('When its file was made.'),
  updated_at: timestamp('When it last changed.'),
  images: list({ url: text('Address.'), is_nsfw: anything('As Civitai reports it.') }, 'Examples of Civitai.')
})

const civitai = anything('What Civitai says, in the names of its own answer about a version; null where it knows nothing.')
const checkpoint = {
  title: text('Name with hash, as in `sd_model_checkpoint`.'),
  model_name: text('Name without ending.'),
  hash: maybe('First ten digits of the SHA-256.'),
  sha256: maybe('SHA-256, where the server knows it.'),
  filename: text('Path, as the server reports it.'),
  config: maybe('Path of its configuration.')
}
const lora = {
  name: text('As in `<lora:name:1>`.'),
  alias: text('The name that its training gave it.'),
  path: text('Path, as the server reports it.'),
  metadata: anything('What its training wrote into it.')
}

export const CheckpointDetails = named('CheckpointDetails', 'A checkpoint, with what Civitai knows of it.',
  { id: whole('Its id in /api/v1/models.'), ...checkpoint, civitai })
export const LoraDetails = named('LoraDetails', 'A LoRA, with what Civitai knows of it.',
  { id: whole('Its id in /api/v1/models.'), ...lora, civitai })

const ofName = { name: text('Its name.') }
const file = { model_name: text('Its name.'), filename: text('Path, as the server reports it.') }

/** By the name of the route under `/sdapi/v1`. */
const lists: Readonly<Record<string, TSchema>> = {
  samplers: list({
    ...ofName,
    aliases: Type.Array(text('Another name.'), { description: 'Other names.' }),
    options: fields({}, 'What it brings along, such as a scheduler.')
  }, 'Samplers.'),
  schedulers: list({
    ...ofName,
    label: text('As people see it, and as requests name it.'),
    aliases: anything('Other names, or null.'),
    default_rho: number('-1 for none.'),
    need_inner_model: flag('Whether it uses the model.')
  }, 'Schedulers.'),
  upscalers: list({
    ...ofName,
    model_name: maybe('Name of its model.'),
    model_path: maybe('Path of its model.'),
    model_url: maybe('Where its model comes from.'),
    scale: anything('How much larger it makes an image, or null.')
  }, 'Upscalers.'),
  'latent-upscale-modes': list(ofName, 'Upscalers of hires fix that need no model.'),
  'sd-models': list(checkpoint, 'Checkpoints.'),
  'sd-vae': list(file, 'VAEs.'),
  'sd-modules': list(file, 'VAEs and text encoders of Forge.'),
  hypernetworks: list({ ...ofName, path: maybe('Path, as the server reports it.') }, 'Hypernetworks.'),
  'face-restorers': list({ ...ofName, cmd_dir: maybe('Path of its models.') }, 'Face restorers.'),
  'realesrgan-models': list({ ...ofName, path: maybe('Where it comes from.'), scale: number('How much larger.') }, 'Models of RealESRGAN.'),
  'prompt-styles': list({ ...ofName, prompt: maybe('Added to the prompt.'), negative_prompt: maybe('Added to the negative one.') }, 'Styles.'),
  'script-info': list({
    ...ofName,
    is_alwayson: flag('Whether it belongs into `alwayson_scripts`.'),
    is_img2img: flag('Whether it is for img2img.'),
    args: list({ label: maybe('What it is called.'), value: anything('What it is without a say.') }, 'Its arguments, in order.')
  }, 'Scripts with their arguments.'),
  extensions: list({ ...ofName, enabled: flag('Whether it is in use.') }, 'Extensions.'),
  loras: list(lora, 'LoRAs.')
}

const embeddings = (description: string) =>
  Type.Object({}, { description, additionalProperties: fields({}, 'What is known of it.') })
const scripts = (description: string) => Type.Array(text('Name of a script.'), { description })

export const A1111Embeddings = named('A1111Embeddings', 'Embeddings by name.', {
  loaded: embeddings('Those that fit the checkpoint of any server.'), skipped: embeddings('The others.')
})
export const A1111Scripts = named('A1111Scripts', 'Names of scripts.', {
  txt2img: scripts('For txt2img.'), img2img: scripts('For img2img.')
})
export const A1111Memory = named('A1111Memory', 'Memory of a server, in bytes.', {
  ram: anything('Of its machine.'), cuda: anything('Of its graphics card.')
})
export const A1111Fields = named('A1111Fields', 'By name, as the server has them; what is secret is empty.', {})
export const A1111PngInfo = named('A1111PngInfo', 'What a picture was made from.', {
  info: text('The text in the picture; empty where there is none.'),
  items: fields({}, 'Other texts in it.'),
  parameters: fields({}, 'The text, read.')
})
export const A1111Extra = named('A1111Extra', 'An image that was worked on.', {
  image: text('The image, as base64.'), html_info: text('What was done, for people.')
})
export const A1111Extras = named('A1111Extras', 'Images that were worked on.', {
  images: Type.Array(text('An image, as base64.'), { description: 'In the order of the request.' }),
  html_info: text('What was done, for people.')
})
export const A1111Caption = named('A1111Caption', 'What a picture shows.', { caption: text('In words.') })
export const Removed = named('Removed', 'What was removed.', { removed: whole('Jobs.') })

/** The word `null`: a schema of type null would say that there is no body. */
const nothing = Type.Unsafe<null>({ enum: [null], description: 'Done.' })
const done = fields({}, 'Done.')
const failedJobs = list({ uuid: text('Id of a job.'), error: text('What went wrong.') }, 'Newest first.')
const workflows = list({
  workflow: text('Kind of job.'), steps: Type.Array(text('A state.'), { description: 'In order.' })
}, 'Kinds of jobs.')
const arrayOf = (schema: TSchema) => Type.Array(Ref(schema), { description: 'Newest first.' })
const described = (schema: TSchema) => ({ ...Ref(schema), description: String(schema.description) })

type Answers = Readonly<Record<string, TSchema>>
const proxyError = described(ProxyError)

const idHeader = {
  'X-Job-ID': text('The job\'s id of 8 characters, for GET /sdapi/v1/job/{id}; with errors too, once the job was accepted.')
}
const generated: Answers = {
  200: { ...described(A1111Images), headers: idHeader },
  202: { ...described(ProxyAccepted), headers: { ...idHeader, Location: text('Address of the job.') } },
  500: {
    ...described(A1111Error),
    description: 'The generation failed: status and error are those of the server, where it gave any.',
    headers: idHeader
  }
}

/** Whatever else a route answers, it is an error in A1111's form. */
export const a1111Failure = described(A1111Error)

/** By the operation's id, what it answers with each status. */
export const a1111Answers: Readonly<Record<string, Answers>> = {
  ...Object.fromEntries(Object.entries(lists).map(([name, schema]) => [`a1111_${name.replaceAll('-', '_')}`, { 200: schema }])),
  ...Object.fromEntries(['checkpoints', 'vae', 'loras', 'embeddings'].map(what => [`a1111_refresh_${what}`, { 200: nothing }])),
  a1111_txt2img: generated,
  a1111_img2img: generated,
  a1111_progress: { 200: described(A1111Progress) },
  a1111_interrupt: { 200: done },
  a1111_skip: { 200: nothing },
  a1111_options: { 200: described(A1111Fields) },
  a1111_set_options: { 200: nothing },
  a1111_job: { 200: described(TrackerJob), 404: proxyError },
  a1111_jobs: { 200: arrayOf(ListedJob) },
  a1111_jobs_one: { 200: described(ProxyJob), 404: proxyError },
  a1111_jobs_cancel: { 204: Type.Null({ description: 'It is cancelled.' }), 404: Type.Null({ description: 'The job does not exist or has finished.' }) },
  a1111_jobs_purge: { 200: described(Removed) },
  a1111_errors: { 200: failedJobs },
  a1111_workflows: { 200: workflows },
  a1111_embeddings: { 200: described(A1111Embeddings) },
  a1111_scripts: { 200: described(A1111Scripts) },
  a1111_memory: { 200: described(A1111Memory) },
  a1111_cmd_flags: { 200: described(A1111Fields) },
  a1111_png_info: { 200: described(A1111PngInfo) },
  a1111_checkpoint_details: { 200: described(CheckpointDetails), 404: proxyError },
  a1111_lora_details: { 200: described(LoraDetails), 404: proxyError },
  a1111_assets_download: { 202: described(ProxyAccepted), 400: proxyError },
  a1111_assets: { 200: arrayOf(Asset), 400: proxyError },
  a1111_assets_one: { 200: described(Asset), 404: proxyError },
  a1111_florence: { 202: described(ProxyAccepted), 400: proxyError, 404: proxyError },
  a1111_extra_single_image: { 200: described(A1111Extra) },
  a1111_extra_batch_images: { 200: described(A1111Extras) },
  a1111_interrogate: { 200: described(A1111Caption) }
}

/**
 * Bodies of A1111's own txt2img and img2img, for the document alone: the drop-in reads them by A1111's model and
 * complains in its words.
 */
const ofTheApi = {
  steps: Type.Optional(Type.Integer({ ...commonFields.steps, description: 'Sampling steps. Default: 50.' })),
  sampler_name: Type.Optional(Type.String({ ...commonFields.sampler_name, description: 'Sampler. Default: Euler.' })),
  ...apiFields
}

const ofImg2img = {
  ...img2imgFields,
  ...img2imgApiFields,
  init_images: Type.Optional(Type.Array(img2imgFields.init_images.items, {
    description: 'Pictures to start from, at most `batch_size`; without any the answer is 404, as at A1111.',
    examples: img2imgFields.init_images.examples as unknown[],
    maxItems: 64
  }))
}

const ofThisService = {
  ...webhookFields,
  meta: Type.Optional(Type.Object({
    auto_tag: Type.Optional(Type.Boolean({
      description: 'Whether the first image is shown to the tagger in TAGGER_URL.', examples: [true]
    }))
  }, { description: 'Further fields of async-proxy.', additionalProperties: true }))
}

const body = ($id: string, description: string, fields: TProperties, example: object) =>
  Type.Object({
    ...fieldsAsSent({ ...commonFields, ...scriptFields, ...denoisingFields, ...fields, ...ofTheApi }), ...ofThisService
  }, {
    $id, description, additionalProperties: true, examples: [{ prompt: 'a lighthouse at dusk', steps: 20, ...example }]
  })

export const A1111Txt2img = body('A1111Txt2img',
  'A1111\'s request for txt2img, and fields of this service beside it. All are optional; unknown ones are ignored.',
  hiresFields, { width: 512, height: 512 })

export const A1111Img2img = body('A1111Img2img',
  'A1111\'s request for img2img, and fields of this service beside it. Unknown ones are ignored.',
  ofImg2img, { init_images: ofImg2img.init_images.examples[0], denoising_strength: 0.5 })
