import { isSameBase } from './base-models.ts'
import type { CatalogueState } from './catalogue.ts'
import type { Model, ModelType } from './model.ts'

export interface ModelFilters {
  readonly types?: readonly ModelType[]
  /** Any word for it, such as `SDXL 1.0` or `sdxl_base_v1-0`. */
  readonly baseModel?: string
  readonly serverId?: string
  readonly search?: string
}

/** The models that fit every filter: by name, or best first where a text is searched. */
export function selectModels ({ search }: CatalogueState, filters: ModelFilters): Model[] {
  const { types, serverId, baseModel } = filters
  return search.find(filters.search ?? '').filter(model =>
    (types === undefined || types.includes(model.type)) &&
    (baseModel === undefined || isSameBase(baseModel, model.facts.baseModel ?? '')) &&
    (serverId === undefined || model.reported.some(report => report.serverId === serverId)))
}
