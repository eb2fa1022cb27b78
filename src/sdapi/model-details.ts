import type { Model } from '../models/model.ts'

/** A checkpoint as A1111 lists it, with what Civitai knows of it; `filename` is a path within the model folder. */
export function checkpointDetails (model: Model) {
  const [seen] = model.reported
  return {
    id: model.id,
    title: seen?.title ?? model.filename,
    model_name: model.filename.replace(/\.[^.]+$/, ''),
    hash: model.shortHash,
    sha256: model.sha256,
    filename: model.path,
    config: null,
    civitai: civitaiOf(model)
  }
}

/** A LoRA as A1111 lists it, with what Civitai knows of it. */
export function loraDetails (model: Model) {
  const [seen] = model.reported
  const name = seen?.title ?? model.filename.replace(/\.[^.]+$/, '')
  return { id: model.id, name, alias: seen?.alias ?? name, path: model.path, metadata: {}, civitai: civitaiOf(model) }
}

/** In the names of Civitai's own answer about the version of a model; null where it knows nothing. */
function civitaiOf ({ facts }: Model) {
  const { civitai } = facts
  if (civitai === null) return null
  return {
    id: civitai.versionId,
    modelId: civitai.modelId,
    name: civitai.versionName,
    baseModel: facts.baseModel,
    model: { name: civitai.modelName, type: civitai.type, nsfw: civitai.nsfw },
    trainedWords: [...facts.triggerWords],
    images: civitai.images.map(image => ({ ...image, meta: null })),
    downloadUrl: civitai.downloadUrl
  }
}
