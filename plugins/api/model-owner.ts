import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { Done } from '../../schemas/job.ts'
import { Closed, Ref, StringEnum } from '../../schemas/kit.ts'
import { ModelAnswer, ModelType } from '../../schemas/model.ts'
import { pathIn } from '../../src/models/places.ts'
import { ownerFields } from '../../src/models/owner-fields.ts'

const writing = { access: { scope: 'models:write' } } as const

/** What owners say of their models, and beginning the catalogue anew. */
const modelOwner: FastifyPluginAsyncTypebox = async app => {
  const { catalogue, modelDesk: desk, maintenance, modelViews: views } = app

  app.put('/api/v1/models/update-field', {
    config: writing,
    schema: {
      operationId: 'update_model_field',
      tags: ['Models'],
      summary: 'Save your notes of a model',
      description: 'Beside its file: in Forge\'s own .json if Forge knows the field, otherwise in .civitai.json. It overrides ' +
        'the data of Civitai, stays when Civitai is asked again, and null removes it.',
      body: Closed({
        filename: Type.String({ maxLength: 255, description: 'Its file name.' }),
        local_path: Type.Optional(Type.String({ maxLength: 1024, description: 'Its local_path or relativePath, if it is in a folder.' })),
        type: Type.Optional(ModelType),
        field: StringEnum(ownerFields, { description: 'What it is about.' }),
        value: Type.Unknown({ description: 'A flag for civitai_nsfw, a number for recommended_weight, else a text; or null.' })
      }, { examples: [{ filename: 'film-grain.safetensors', field: 'civitai_nsfw', value: false }] }),
      response: { 200: { ...Ref(ModelAnswer), description: 'As it is now.' }, ...errorResponses(400, 403, 404, 409) }
    }
  }, async request => {
    const { filename, local_path: folder = '', type, field, value } = request.body
    const model = await catalogue.require(pathIn(folder, filename), type)
    return { success: true as const, model: views.one(await desk.setField(model, field, value)) }
  })

  app.post('/api/v1/models/reset-database', {
    config: writing,
    schema: {
      operationId: 'reset_models',
      tags: ['Models'],
      summary: 'Forget all data of model files, and scan again',
      description: 'Hashes and what Civitai said go; files, sidecars and what servers report stay.',
      response: { 200: { ...Ref(Done), description: 'What was forgotten.' }, ...errorResponses(403) }
    }
  }, async () => {
    const count = await desk.forgetAll()
    if (desk.folders.length > 0) await maintenance.requestScan()
    const what = `${count} model file${count === 1 ? ' was' : 's were'} forgotten`
    return { success: true as const, message: desk.folders.length > 0 ? `${what}; a scan finds them again.` : `${what}.` }
  })
}

export default modelOwner
