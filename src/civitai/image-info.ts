import { fieldsOf, numberOf, objectOf, textOf, type JsonObject } from '../a1111/json-values.ts'
import { ServiceError } from '../errors.ts'
import type { Model } from '../models/model.ts'
import { idOf } from './version-facts.ts'

/** How a picture at Civitai was made, in the names that a job takes. */
export interface ImageInfo {
  readonly parameters: Readonly<Record<string, string | number>>
  readonly resources: readonly ImageResource[]
}

export interface ImageResource {
  readonly name: string
  readonly type: string
  readonly versionId: number | null
  readonly weight: number | null
  /** First digits of its SHA-256, in lower case. */
  readonly hash: string | null
}

/**
 * The number of a picture out of its number or the address of its page.
 * @throws ServiceError `invalid_field_value`
 */
export function imageIdOf (text: string, field: string): number {
  const [, fromPage] = /^(?:https:\/\/civitai\.(?:com|green|red)\/images\/)?(\d{1,15})(?:[/?#].*)?$/.exec(text.trim()) ?? []
  const id = idOf(fromPage)
  if (id !== null) return id
  throw new ServiceError('invalid_field_value',
    `${field} must be the number of a picture or the address of its page, such as https://civitai.com/images/123.`, { field })
}

/** What a picture's entry at Civitai says; null where its maker kept that back. */
export function readImageInfo (image: JsonObject): ImageInfo | null {
  const meta = objectOf(image.meta)
  if (meta === null) return null
  const inner = objectOf(meta.meta) ?? meta
  const [, width, height] = /^(\d{1,5})x(\d{1,5})$/.exec(textOf(inner.Size) ?? '') ?? []
  const given: Readonly<Record<string, string | number | null>> = {
    positive_prompt: textOf(inner.prompt),
    negative_prompt: textOf(inner.negativePrompt),
    seed: numberOf(inner.seed),
    steps: numberOf(inner.steps),
    sampler_name: textOf(inner.sampler),
    scheduler: textOf(inner['Schedule type']),
    cfg_scale: numberOf(inner.cfgScale),
    width: Number(width) || numberOf(image.width),
    height: Number(height) || numberOf(image.height),
    clip_skip: numberOf(inner.clipSkip) ?? idOf(inner['Clip skip']),
    checkpoint_name: textOf(inner.Model),
    model_hash: textOf(inner['Model hash'])?.toLowerCase() ?? null
  }
  const told = Object.entries(given).flatMap(([name, value]) => value === null ? [] : [[name, value] as const])
  return {
    parameters: Object.fromEntries(told),
    resources: [...resourcesOf(inner.resources), ...resourcesOf(inner.civitaiResources)]
  }
}

function resourcesOf (value: unknown): ImageResource[] {
  return (Array.isArray(value) ? value : []).map(fieldsOf).map(resource => ({
    name: textOf(resource.name) ?? textOf(resource.modelVersionName) ?? '',
    type: textOf(resource.type) ?? '',
    versionId: idOf(resource.modelVersionId),
    weight: numberOf(resource.weight),
    hash: textOf(resource.hash)?.toLowerCase() ?? null
  }))
}

/** The model of the catalogue that a picture was made with, if it is here. */
export function findResource ({ hash, versionId }: ImageResource, models: readonly Model[]): Model | undefined {
  return models.find(model =>
    (versionId !== null && model.facts.civitai?.versionId === versionId) ||
    (hash !== null && hash.length >= 10 && (model.sha256 ?? model.shortHash)?.startsWith(hash.slice(0, 64))) ||
    (hash !== null && model.autoV3 === hash))
}
