import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import { Ref } from '../../schemas/kit.ts'
import { botErrors } from '../../schemas/bots-job.ts'
import {
  LoraChoices, LoraEdit, LoraEnrichQuery, LoraInfo, LoraList, LoraQuery, LoraReference, LoraScan, LoraTags
} from '../../schemas/bots-settings.ts'
import { bareName } from '../../src/a1111/names.ts'
import { imagesOf } from '../../src/models/images.ts'
import type { Lora } from '../../src/bots/lora-service.ts'
import { readFields } from '../../src/bots/read-fields.ts'
import { previewUrl } from '../api/model-views.ts'
import { imageAnswers, sendImage } from '../core/send-image.ts'
import { fieldsOfRequest, readOnlyFields } from './scope.ts'

const reading = { access: { scope: 'models:read' } } as const
const writing = { access: { scope: 'models:write' } } as const
/** Discord shows no more choices, and no longer ones. */
const maxChoices = 25
const longestChoice = 100

/** The LoRAs of all servers and folders, for people to choose from. */
const loras: FastifyPluginAsync = async app => {
  const { loraService } = app
  const described = (operationId: string, summary: string, description?: string) => ({
    operationId: `studio_${operationId}`, tags: ['Studio'], summary, ...(description === undefined ? {} : { description })
  })
  const one = { 200: { ...Ref(LoraInfo), description: 'The LoRA.' }, ...botErrors(404) }

  app.get('/', {
    config: reading,
    schema: {
      ...described('loras', 'LoRAs', 'Filled from what servers report, also before the first scan.'),
      querystring: LoraQuery,
      response: { 200: { ...Ref(LoraList), description: 'All of them, or those that fit.' }, ...botErrors() }
    }
  }, async request => {
    const { loras, total } = await loraService.find(readFields(LoraQuery, request.query, ['query']))
    return { loras: loras.map(lora => render(lora, request.base)), total: loras.length, total_available: total }
  })

  app.get('/autocomplete', {
    config: reading,
    schema: {
      ...described('lora_choices', 'LoRAs as choices for Discord'),
      querystring: LoraQuery,
      response: { 200: { ...Ref(LoraChoices), description: 'At most 25.' }, ...botErrors() }
    }
  }, async request => {
    const query = readFields(LoraQuery, request.query, ['query'])
    const { loras } = await loraService.find({ ...query, limit: Math.min(query.limit ?? maxChoices, maxChoices) })
    return { choices: loras.map(choiceOf).filter(({ value }) => value.length <= longestChoice) }
  })

  app.get('/tags', {
    config: reading,
    schema: {
      ...described('lora_tags', 'Tags of LoRAs'),
      response: { 200: { ...Ref(LoraTags), description: 'Most used first.' }, ...botErrors() }
    }
  }, async () => {
    const { loras } = await loraService.find({ limit: Infinity })
    const counts = new Map<string, number>()
    for (const tag of loras.flatMap(({ tags }) => tags)) counts.set(tag, (counts.get(tag) ?? 0) + 1)
    const tags = [...counts].map(([tag, count]) => ({ tag, count }))
    return { tags: tags.sort((one, other) => other.count - one.count || one.tag.localeCompare(other.tag)) }
  })

  app.post('/scan', {
    config: writing,
    schema: {
      ...described('scan_loras', 'Scan for LoRAs again', 'Every server reads its folder again. Model folders of this ' +
        'machine are scanned in the background. Edited fields stay.'),
      response: { 200: { ...Ref(LoraScan), description: 'The present state.' }, ...botErrors() }
    }
  }, async () => {
    const details = await loraService.scan()
    return { message: `Scanned and found ${details.count} LoRAs`, details }
  })

  app.get('/:filename', {
    config: reading, schema: { ...described('lora', 'One LoRA'), params: LoraReference, response: one }
  }, async request => render(await loraService.require(filenameOf(request)), request.base))

  app.get('/:filename/thumbnail', {
    config: { access: { scope: 'models:read', bucket: 'status' } },
    schema: {
      ...described('lora_thumbnail', 'A picture of a LoRA', 'The picture that a person set, one beside the file ' +
        'here or at a server, or Civitai\'s.'),
      params: LoraReference,
      response: { ...imageAnswers, 302: Type.Null({ description: 'It is there.' }), ...botErrors(404, 502) }
    }
  }, async (request, reply) => {
    const lora = await loraService.require(filenameOf(request))
    const address = lora.thumbnail ?? ownImage(lora, '')
    if (address !== null) return reply.redirect(address)
    return await sendImage(request, reply, await loraService.image(lora))
  })

  app.patch('/:filename', {
    config: writing,
    schema: { ...described('edit_lora', 'Change what is known of a LoRA'), params: LoraReference, body: Ref(LoraEdit), response: one }
  }, async request => {
    const change = readOnlyFields(LoraEdit, await fieldsOfRequest(request))
    return render(await loraService.edit(filenameOf(request), change), request.base)
  })

  app.post('/:filename/enrich', {
    config: writing,
    schema: {
      ...described('enrich_lora', 'Ask Civitai about a LoRA', 'By its hash. Edited fields stay.'),
      params: LoraReference,
      querystring: LoraEnrichQuery,
      response: { ...one, ...botErrors(404, 502) }
    }
  }, async request => {
    const { force } = readFields(LoraEnrichQuery, request.query, ['query'])
    return render(await loraService.enrich(filenameOf(request), force === true ? 'fresh' : 'kept'), request.base)
  })
}

export default loras

function filenameOf (request: FastifyRequest): string {
  return readFields(LoraReference, request.params, ['path']).filename
}

function render (lora: Lora, base: string): LoraInfo {
  const { model } = lora
  return {
    filename: model.filename,
    name: lora.name,
    tags: [...lora.tags],
    trigger_words: [...lora.triggerWords],
    strength_range: [...lora.strengthRange],
    description: lora.description,
    thumbnail: lora.thumbnail ?? ownImage(lora, base) ?? otherImage(lora, base),
    civitai_id: lora.civitaiId,
    id: model.id,
    path: model.path,
    base_model: lora.baseModel,
    preferred_weight: lora.preferredWeight,
    servers: [...lora.servers],
    edited: [...lora.edited],
    ...(lora.score === undefined ? {} : { score: lora.score })
  }
}

/** One in the catalogue. */
function ownImage ({ model }: Lora, base: string): string | null {
  return imagesOf(model).length > 0 ? previewUrl(model, 0, base) : null
}

/** One that a server or Civitai can have. */
function otherImage ({ model, civitaiImage, mayHavePreview }: Lora, base: string): string | null {
  return civitaiImage !== null || mayHavePreview ? `${base}/loras/${encodeURIComponent(model.path)}/thumbnail` : null
}

function choiceOf ({ name, model: { filename } }: Lora): { name: string, value: string } {
  return { name: name.slice(0, longestChoice), value: filename.length > longestChoice ? bareName(filename) : filename }
}
