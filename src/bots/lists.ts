import type { Inventory } from '../a1111/types.ts'

/** Names that exist on every server. */
const defaultVaes = ['Automatic', 'None']

/** The names that all servers together have, in the servers' order. */
export function unionOfLists (inventories: ReadonlyArray<Inventory | null>) {
  const known = inventories.filter(inventory => inventory !== null)
  const union = (namesOf: (inventory: Inventory) => readonly string[]) => [...new Set(known.flatMap(namesOf))]
  return {
    checkpoints: union(({ checkpoints }) => checkpoints.map(({ modelName }) => modelName)),
    vaes: [...new Set([...defaultVaes, ...union(({ vaes }) => vaes)])],
    samplers: union(({ samplers }) => samplers.map(({ name }) => name)),
    upscalers: union(({ upscalers }) => upscalers),
    schedulers: union(({ schedulers }) => schedulers.map(({ label, name }) => label || name)),
    loras: union(({ loras }) => loras.map(({ name }) => name)),
    controlnet_models: union(({ controlNetModels }) => controlNetModels),
    controlnet_modules: union(({ controlNetModules }) => controlNetModules),
    scripts: union(({ scripts }) => [...scripts.txt2img, ...scripts.img2img])
  }
}
