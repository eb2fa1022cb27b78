import { A1111Parameters } from '../../schemas/generation-parameters.ts'
import { checkCompatibility } from '../../src/a1111/compatibility.ts'
import type { Compatibility, OnMissing } from '../../src/a1111/resolve.ts'
import { fieldRules } from '../../src/a1111/field-values.ts'
import { normaliseParameters } from '../../src/a1111/parameters.ts'
import type { Inventory, ServerKind } from '../../src/a1111/types.ts'

/** The inventory of a server that has only these lists. */
export function inventoryOf (lists: Partial<Inventory>): Inventory {
  return {
    checkpoints: [],
    samplers: [],
    schedulers: [],
    upscalers: [],
    latentUpscaleModes: [],
    vaes: [],
    loras: [],
    embeddings: [],
    styles: [],
    scripts: { txt2img: [], img2img: [] },
    controlNetModels: [],
    controlNetModules: [],
    missing: [],
    readAt: 0,
    ...lists
  }
}

export interface CompatibilitySetting {
  readonly at: Inventory
  readonly kind?: ServerKind
  readonly onMissing?: OnMissing
  readonly img2img?: boolean
}

/** A generation request as checked for a server. */
export function checkedAt (given: unknown, setting: CompatibilitySetting): Compatibility {
  const { at, kind = 'a1111', onMissing = 'refuse', img2img = true } = setting
  const rules = fieldRules(A1111Parameters)
  const request = normaliseParameters(given, { rules, random: () => 1, maximumPixels: 1e9 })
  const capabilities = { progress: true, taskProgress: true, interrupt: true, img2img }
  return checkCompatibility(request, { inventory: at, traits: { kind, capabilities } }, onMissing)
}
