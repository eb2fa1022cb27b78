import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import { JsonOrForm, Ref } from '../../schemas/kit.ts'
import { StudioImg2imgRequest, StudioTxt2imgRequest } from '../../schemas/studio-generation.ts'
import { StudioAccepted, studioErrors } from '../../schemas/studio-job.ts'
import type { Accepted } from '../../src/jobs/submit.ts'
import { studioFiles } from '../../src/studio/form.ts'
import type { GenerationKind, StudioCall } from '../../src/studio/generate.ts'
import type { Studio } from '../../src/studio/studio.ts'
import { fieldsOfRequest } from './scope.ts'

const config = { access: { scope: 'jobs:write' }, multipart: { files: studioFiles } } as const

const routes = [
  { kind: 'txt2img', schema: StudioTxt2imgRequest, summary: 'A picture from words', message: 'Generation queued successfully' },
  { kind: 'img2img', schema: StudioImg2imgRequest, summary: 'A picture from a picture', message: 'Generation queued successfully' }
] as const satisfies ReadonlyArray<{ kind: GenerationKind, schema: object, summary: string, message: string }>

/** Every way of asking for pictures; what comes back is a job. */
const generate: FastifyPluginAsync<{ readonly studio: Studio }> = async (app, { studio: { generations } }) => {
  for (const { kind, schema, summary, message } of routes) {
    app.post(`/${kind}`, {
      config,
      schema: {
        operationId: `studio_${kind}`,
        tags: ['Studio'],
        summary,
        description: 'Takes JSON with images as base64, or multipart/form-data with files: fields as parts of their own, ' +
          'or as one JSON object in a part called `request`.',
        body: JsonOrForm(schema, schema),
        response: { 200: { ...Ref(StudioAccepted), description: 'It waits in line.' }, ...studioErrors(404, 413, 415) }
      }
    }, async request => renderAccepted(await generations.submit(kind, callOf(request)), message))
  }
}

export default generate

function callOf (request: FastifyRequest): StudioCall {
  return {
    fields: fieldsOfRequest(request),
    keyId: request.principal.keyId,
    webhook: null,
    baseUrl: `${request.protocol}://${request.host}`
  }
}

function renderAccepted ({ id, position, seed, warnings }: Accepted, message: string): StudioAccepted {
  return { job_id: id, status: 'queued', message, estimated_time: null, position, seed, warnings: [...warnings] }
}
