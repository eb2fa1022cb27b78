import type { TObject } from '@sinclair/typebox'
import type { FastifyPluginAsync } from 'fastify'
import { JsonOrForm, Ref } from '../../schemas/kit.ts'
import { StudioAccepted, studioErrors } from '../../schemas/studio-job.ts'
import { WebhookFields } from '../../schemas/webhook.ts'
import { seedText } from '../../src/a1111/seeds.ts'
import type { Accepted } from '../../src/jobs/submit.ts'
import { studioWarnings } from '../../src/studio/errors.ts'
import { studioFiles } from '../../src/studio/form.ts'
import { requestSchemas, type GenerationKind } from '../../src/studio/request.ts'
import { readFields } from '../../src/studio/read-fields.ts'
import { signingSecretOf } from '../../src/webhooks/sign.ts'
import { callOf } from './call.ts'

const config = { access: { scope: 'jobs:write' }, multipart: { files: studioFiles } } as const

const routes: Readonly<Record<GenerationKind, { readonly summary: string, readonly message: string }>> = {
  txt2img: { summary: 'A picture from words', message: 'Generation queued successfully' },
  img2img: { summary: 'A picture from a picture', message: 'Generation queued successfully' },
  inpaint: { summary: 'A part of a picture, generated again', message: 'Inpainting queued successfully' },
  outpaint: { summary: 'A picture extended beyond its edges', message: 'Outpainting queued successfully' },
  controlnet: { summary: 'A picture guided by others', message: 'ControlNet generation queued successfully' },
  regional: { summary: 'A picture with regions', message: 'Regional prompting generation queued successfully' },
  upscale: { summary: 'Finished pictures enlarged', message: 'Upscale queued successfully' },
  'face-restore': { summary: 'Faces of finished pictures restored', message: 'Face restoration queued successfully' }
}

/** Every way of asking for pictures; what comes back is a job. */
const generate: FastifyPluginAsync = async app => {
  const { generations, studioViews: views } = app

  for (const [kind, schema] of Object.entries(requestSchemas) as Array<[GenerationKind, TObject]>) {
    const { summary, message } = routes[kind]
    app.post(`/${kind}`, {
      config,
      schema: {
        operationId: `studio_${kind.replace('-', '_')}`,
        tags: ['Studio'],
        summary,
        description: 'Takes JSON with images as base64, or multipart/form-data with files: fields as parts of their own, ' +
          'or as one JSON object in a part called `request`.',
        body: JsonOrForm(schema, schema),
        response: { 200: { ...Ref(StudioAccepted), description: 'It waits in the queue.' }, ...studioErrors(404, 413, 415) }
      }
    }, async request => {
      const call = callOf(request)
      const [accepted] = await generations.submit([await generations.prepare(kind, call)])
      if (accepted === undefined) return null
      const answer = renderAccepted(accepted, message, await views.secondsOf(accepted))
      return { ...answer, ...signingSecretOf(readFields(WebhookFields, call.fields)) }
    })
  }
}

export default generate

function renderAccepted (
  { id, position, seed, warnings }: Accepted, message: string, seconds: number | null
): StudioAccepted {
  const told = studioWarnings(warnings)
  return { job_id: id, status: 'queued', message, estimated_time: seconds, position, seed, seed_text: seedText(seed), warnings: told }
}
