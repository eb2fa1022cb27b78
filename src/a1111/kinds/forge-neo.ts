import { forge } from './forge.ts'
import type { ServerKindRules } from './kind.ts'

/** Forge Neo, the successor of Forge: presets for further architectures, each with a checkpoint and modules. */
export const forgeNeo: ServerKindRules = {
  ...forge,
  isSeenIn: sight => forge.isSeenIn(sight) &&
    Object.keys(sight.options).some(name => /^forge_(checkpoint|additional_modules)_/.test(name))
}
