import type { Static } from '@sinclair/typebox'
import type { ModelCivitai, ModelServer, ModelView } from '../../schemas/model.ts'
import { iso } from '../../src/lib/text.ts'
import { baseModelOf } from '../../src/model-facts/base-models.ts'
import { nameOf } from '../../src/models/catalogue.ts'
import type { Model, ModelFacts } from '../../src/model-facts/facts.ts'
import { imagesOf } from '../../src/models/images.ts'
import type { ServerRegistry } from '../../src/servers/registry.ts'

export interface ModelViews {
  /** @param base path before all addresses of this service, as the client reaches it */
  one (model: Model, base: string): ModelView
}

/** Models for clients: never with a path of this machine. */
export function createModelViews (registry: Pick<ServerRegistry, 'byId'>): ModelViews {
  function servers ({ reported }: Model): Array<Static<typeof ModelServer>> {
    return reported.flatMap(({ serverId, title, shortHash }) => {
      const alias = registry.byId(serverId)?.alias
      return alias === undefined ? [] : { alias, title, hash: shortHash }
    })
  }

  return {
    one (model, base) {
      const { facts, files } = model
      const [file] = files
      const { civitai } = facts
      const folder = model.path.includes('/') ? model.path.slice(0, model.path.lastIndexOf('/')) : ''
      const previews = imagesOf(model).map((_picture, index) => previewUrl(model, index, base))
      return {
        id: model.id,
        name: nameOf(model),
        type: model.type,
        lycoris: model.lycoris,
        filename: model.filename,
        path: model.path,
        relativePath: folder === '' ? '/' : folder,
        local_path: folder,
        base_model: facts.baseModel,
        baseModel: facts.baseModel,
        base_family: baseModelOf(facts.baseModel ?? '')?.family ?? null,
        size: file?.size ?? null,
        created: iso(file?.createdAt),
        modified: iso(file?.modifiedAt),
        hash_sha256: model.sha256,
        hash_autov2: model.shortHash,
        hash_autov3: model.autoV3,
        description: facts.description,
        notes: facts.notes,
        tags: [...facts.tags],
        trigger_words: [...facts.triggerWords],
        recommended_weight: facts.weight,
        training: trainingView(facts),
        has_preview: previews.length > 0,
        preview_url: previews[0] ?? null,
        previewAvailable: previews.length > 0,
        previewPath: previews[0] ?? null,
        previews,
        civitai_id: civitai?.modelId ?? null,
        civitai_version_id: civitai?.versionId ?? null,
        civitai_url: civitaiPage(model),
        civitai_nsfw: facts.nsfw ?? civitai?.nsfw ?? false,
        ...(civitai === null ? {} : { civitai: civitaiView(model, base) }),
        servers: servers(model),
        on_disk: files.length > 0,
        metadata_source: sourceWord(model),
        _metadata_source: sourceWord(model),
        is_duplicate: files.length > 1,
        duplicate_group_size: files.length
      }
    }
  }
}

function trainingView ({ training }: ModelFacts): ModelView['training'] {
  if (training == null) return null
  const { outputName, checkpoint, resolution, dim, alpha } = training
  return { output_name: outputName, trained_on: checkpoint, resolution, dim, alpha }
}

export function previewUrl ({ id }: Model, index: number, base: string): string {
  return `${base}/api/v1/models/${id}/preview${index === 0 ? '' : `?index=${index}`}`
}

export function civitaiPage ({ facts: { civitai } }: Model): string | null {
  if (civitai === null || civitai.modelId === null) return null
  const version = civitai.versionId === null ? '' : `?modelVersionId=${civitai.versionId}`
  return `https://civitai.com/models/${civitai.modelId}${version}`
}

/** StableQueue's clients' word for each source. */
function sourceWord ({ sources }: Model): ModelView['metadata_source'] {
  const [first] = sources
  return first === undefined ? 'none' : first === 'person' ? 'forge' : first
}

/** In the field names of Civitai's own answers, with images served from here. */
export function civitaiView (model: Model, base: string): Static<typeof ModelCivitai> {
  const { civitai, baseModel, triggerWords } = model.facts
  const images = imagesOf(model)
  return {
    id: civitai?.versionId ?? null,
    modelId: civitai?.modelId ?? null,
    name: civitai?.versionName ?? null,
    model: { name: civitai?.modelName ?? null, type: civitai?.type ?? null, nsfw: civitai?.nsfw ?? false },
    baseModel,
    trainedWords: [...triggerWords],
    downloadUrl: civitai?.downloadUrl ?? null,
    images: images.flatMap((image, index) => image.from === 'folder'
      ? []
      : {
          url: previewUrl(model, index, base),
          nsfw: image.image.nsfw,
          width: image.image.width,
          height: image.image.height
        }),
    fetched_at: iso(civitai?.fetchedAt)
  }
}
