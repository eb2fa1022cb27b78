import type { CivitaiImage, Model, ModelFile } from './model.ts'

/** A preview of a model: a file beside it, or one of Civitai's. */
export type Picture =
  | { readonly from: 'folder', readonly file: ModelFile, readonly name: string }
  | { readonly from: 'civitai', readonly image: CivitaiImage }

/** The pictures of a model in the order of their index: the owner's own, then Civitai's. */
export function picturesOf ({ files, facts }: Model): Picture[] {
  const own = files.find(({ previews }) => previews.length > 0)
  return [
    ...(own?.previews ?? []).map(name => ({ from: 'folder' as const, file: own as ModelFile, name })),
    ...(facts.civitai?.images ?? []).map(image => ({ from: 'civitai' as const, image }))
  ]
}
