import { Type, type TProperties } from '@sinclair/typebox'
import { commonFields, denoisingFields, fieldsAsSent, hiresFields, img2imgFields } from './generation-parameters.ts'
import { webhookFields } from './webhook.ts'

/**
 * Bodies of A1111's own txt2img and img2img, for the document alone: the drop-in reads them by A1111's model and
 * complains in its words.
 */
const flag = (description: string, standard: boolean) =>
  Type.Optional(Type.Boolean({ description, examples: [standard] }))

/** What A1111's API has besides, or takes otherwise than `/api/v2/generate`. */
const ofTheApi = {
  steps: Type.Optional(Type.Integer({ ...commonFields.steps, description: 'Sampling steps. Default: 50.' })),
  sampler_name: Type.Optional(Type.String({ ...commonFields.sampler_name, description: 'Sampler. Default: Euler.' })),
  sampler_index: Type.Optional(Type.String({
    description: 'The same for older clients; `sampler_name` overrides it.', examples: ['Euler'], maxLength: 1000
  })),
  send_images: flag('Whether the answer has images. They are kept here in any case.', true),
  save_images: flag('No effect: images are kept here and not at the server, and no grid is added.', false),
  do_not_save_samples: flag('No effect: nothing is kept at the server.', false),
  do_not_save_grid: flag('No effect: no grid is made.', false),
  override_settings_restore_afterwards: flag('No effect: settings apply only to this job.', true),
  force_task_id: Type.Optional(Type.String({
    description: 'What the caller calls the task, for `/internal/progress`.', examples: ['task(abc)'], maxLength: 1000
  })),
  infotext: Type.Optional(Type.String({
    description: 'Generation parameters as A1111 writes them into a picture; they fill missing fields.',
    examples: ['Steps: 20, Sampler: Euler a'],
    maxLength: 100_000
  }))
}

const ofImg2img = {
  ...img2imgFields,
  // Forge's model has it for img2img as well.
  hr_distilled_cfg: hiresFields.hr_distilled_cfg,
  init_images: Type.Optional(Type.Array(img2imgFields.init_images.items, {
    description: 'Pictures to start from, at most `batch_size`; without any the answer is 404, as at A1111.',
    examples: img2imgFields.init_images.examples as unknown[],
    maxItems: 64
  })),
  include_init_images: flag('Whether `parameters` of the answer repeats the pictures that were sent.', false)
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
  Type.Object({ ...fieldsAsSent({ ...commonFields, ...denoisingFields, ...fields, ...ofTheApi }), ...ofThisService }, {
    $id, description, additionalProperties: true, examples: [{ prompt: 'a lighthouse at dusk', steps: 20, ...example }]
  })

export const A1111Txt2img = body('A1111Txt2img',
  'A1111\'s request for txt2img, and fields of this service beside it. All are optional; unknown ones are ignored.',
  hiresFields, { width: 512, height: 512 })

export const A1111Img2img = body('A1111Img2img',
  'A1111\'s request for img2img, and fields of this service beside it. Unknown ones are ignored.',
  ofImg2img, { init_images: ofImg2img.init_images.examples[0], denoising_strength: 0.5 })
