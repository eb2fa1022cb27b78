/** The files beside a model that tell about it or show it. */
export interface Companions {
  /** File names, the one believed first at the front. */
  readonly sidecars: readonly string[]
  readonly previews: readonly string[]
}

/** What A1111, Forge, Civitai Helper, StableQueue and LoRA Manager write. */
const sidecarEndings = ['.json', '.civitai.info', '.civitai.json', '.metadata.json']
const pictureEndings = ['png', 'jpg', 'jpeg', 'webp']
const previewEndings = [...pictureEndings.map(ending => `.preview.${ending}`), ...pictureEndings.map(ending => `.${ending}`)]

/** The stem of a model's file name: companions begin with it. */
export function stemOf (filename: string): string {
  return filename.slice(0, filename.lastIndexOf('.'))
}

/** @param lookUp the exact file name for one in lower case */
export function companionsOf (filename: string, lookUp: ReadonlyMap<string, string>): Companions {
  const named = (endings: readonly string[]) => endings.flatMap(ending => {
    // `x.safetensors.json` besides `x.json`: some tools keep the model's own ending
    const names = [`${stemOf(filename)}${ending}`, `${filename}${ending}`]
    return names.flatMap(name => lookUp.get(name.toLowerCase()) ?? [])
  })
  return { sidecars: named(sidecarEndings), previews: named(previewEndings) }
}
