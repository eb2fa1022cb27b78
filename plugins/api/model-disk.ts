import { basename } from 'node:path'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { Closed, Ref } from '../../schemas/kit.ts'
import { DeletionAnswer, DuplicatesView } from '../../schemas/model-files.ts'
import { ModelReference, ModelType } from '../../schemas/model.ts'
import { refuseMore } from '../../src/lib/errors.ts'
import { type ModelFacts, noFacts } from '../../src/model-facts/facts.ts'
import { type Deletion, spareFiles } from '../../src/models/duplicates.ts'
import { pathIn } from '../../src/models/folders.ts'
import { combinedPerson } from '../../src/models/sidecars.ts'

const changing = { access: { scope: 'models:write' } } as const

/** Deletes model files, and finds duplicates. */
const modelDisk: FastifyPluginAsyncTypebox = async app => {
  const { catalogue, modelService: service } = app
  const answer = { 200: { ...Ref(DeletionAnswer), description: 'What was done.' }, ...errorResponses(400, 403, 404, 409) }

  app.delete('/api/v1/models/delete-from-disk', {
    config: changing,
    schema: {
      operationId: 'models.deleteFromDisk',
      tags: ['Models'],
      summary: 'Delete a model file named by folder and file name',
      description: 'With its previews and sidecars. Servers that had it keep it in their lists until they refresh.',
      body: Closed({
        filename: Type.String({ maxLength: 255, description: 'Its file name.' }),
        local_path: Type.Optional(Type.String({ maxLength: 1024, description: 'Its local_path or relativePath, if it is in a folder.' })),
        type: Type.Optional(ModelType)
      }),
      response: answer
    }
  }, async request => {
    const { filename, local_path: folder = '', type } = request.body
    const path = pathIn(folder, filename)
    return render(await service.deleteFromDisk(await catalogue.require(path, type), path))
  })

  app.delete('/api/v1/models/:id', {
    config: changing,
    schema: {
      operationId: 'models.delete',
      tags: ['Models'],
      summary: 'Delete a model\'s file',
      description: 'With its previews and sidecars. Of several equal files only the first is deleted, and people\'s notes beside ' +
        'it are copied to one that stays.',
      params: ModelReference,
      response: answer
    }
  }, async request => render(await service.deleteFromDisk(await catalogue.require(request.params.id))))

  app.get('/api/v1/models/duplicates', {
    config: { access: { scope: 'models:read' } },
    schema: {
      operationId: 'models.listDuplicates',
      tags: ['Models'],
      summary: 'List files of equal content',
      description: 'By their whole SHA-256; files without one are not compared.',
      response: { 200: { ...Ref(DuplicatesView), description: 'The groups.' }, ...errorResponses(403) }
    }
  }, async () => {
    const groups = await service.duplicates()
    return {
      success: true as const,
      count: spareFiles(groups),
      bytes: groups.reduce((sum, { files }) => sum + files.slice(1).reduce((size, file) => size + file.size, 0), 0),
      groups: groups.map(({ sha256, files }) => ({
        hash: sha256,
        files: files.map(({ absolutePath, path, root, facts }, index) => ({
          filename: basename(absolutePath),
          path,
          folder: basename(root),
          keep: index === 0,
          written: wordsOf(facts.person ?? noFacts)
        })),
        written: wordsOf(combinedPerson(files.flatMap(({ facts }) => facts.person ?? [])))
      }))
    }
  })

  app.post('/api/v1/models/cleanup-duplicates', {
    config: changing,
    schema: {
      operationId: 'models.cleanUpDuplicates',
      tags: ['Models'],
      summary: 'Delete all but one file of each group',
      description: 'Only in the groups with the sent hashes, and only after hashing each of their files again. ' +
        'People\'s notes beside the others, and their previews, are copied to the file that is kept; a file ' +
        'stays if that fails, and `errors` says why.',
      body: Closed({
        hashes: Type.Array(Type.String({ pattern: '^[0-9a-f]{64}$' }), {
          minItems: 1, maxItems: 1000, description: 'Hashes out of the list of duplicates.'
        }),
        expected: Type.Optional(Type.Integer({
          minimum: 0, description: 'How many files the caller expects to go: where there are more, the answer is 409 and nothing is deleted.'
        }))
      }),
      response: answer
    }
  }, async request => {
    const { hashes, expected } = request.body
    const groups = (await service.duplicates()).filter(({ sha256 }) => hashes.includes(sha256))
    refuseMore(spareFiles(groups), expected)
    return render(await service.removeDuplicates(hashes))
  })
}

export default modelDisk

function wordsOf ({ name, baseModel, description, notes, tags, triggerWords, weight, nsfw }: ModelFacts) {
  return {
    name,
    base_model: baseModel,
    description,
    notes,
    tags: [...tags],
    trigger_words: [...triggerWords],
    recommended_weight: weight,
    civitai_nsfw: nsfw
  }
}

function render ({ deleted, problems }: Deletion) {
  const models = deleted.filter(({ type }) => type === 'model').length
  return {
    success: models > 0,
    message: models === 0 ? 'Nothing was deleted.' : `${models} model file${models === 1 ? ' was' : 's were'} deleted.`,
    deletedFiles: deleted.map(({ type, name }) => ({ type, path: name })),
    clearedCount: models,
    errors: [...problems]
  }
}
