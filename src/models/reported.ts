import { loraFileOf, type LoraFacts } from '../a1111/inventory.ts'
import { lastPart, splitHash, withForwardSlashes } from '../a1111/names.ts'
import type { Checkpoint, Inventory } from '../a1111/types.ts'
import type { ModelType, ReportedModel } from './model.ts'
import { isLycorisPath, pathWithinType } from './places.ts'

/** Every model that a server's inventory names, LoRAs with what the server tells of them. */
export function modelsReported (
  serverId: string, inventory: Inventory, loraFacts: LoraFacts = new Map()
): ReportedModel[] {
  const named = (type: ModelType, names: readonly string[]): ReportedModel[] => names
    .filter(name => name !== 'None' && name !== 'Automatic')
    .map(name => ({
      serverId,
      type,
      title: name,
      alias: null,
      lycoris: false,
      absolutePath: '',
      path: withForwardSlashes(splitHash(name).name),
      sha256: null,
      shortHash: null,
      told: null
    }))
  return [
    ...inventory.checkpoints.map(checkpoint => reportedCheckpoint(serverId, checkpoint)),
    ...inventory.loras.map(({ name, alias, path }): ReportedModel => ({
      serverId,
      type: 'lora',
      title: name,
      alias,
      lycoris: isLycorisPath(path),
      absolutePath: path,
      path: pathWithinType(path, 'lora') ?? (path === '' ? name : lastPart(path)),
      sha256: null,
      shortHash: null,
      told: loraFacts.get(loraFileOf({ name, path })) ?? null
    })),
    ...named('vae', inventory.vaes),
    ...named('embedding', inventory.embeddings),
    ...named('upscaler', inventory.upscalers),
    ...named('controlnet', inventory.controlNetModels)
  ]
}

/** A short hash counts only with ten digits; older ones of eight are of another kind and tell nothing for certain. */
function reportedCheckpoint (serverId: string, { title, hash, sha256, filename }: Checkpoint): ReportedModel {
  const full = sha256 === null || !/^[0-9a-f]{64}$/i.test(sha256) ? null : sha256.toLowerCase()
  const short = [hash, splitHash(title).hash].find(text => text && /^[0-9a-f]{10}$/i.test(text))
  return {
    serverId,
    type: 'checkpoint',
    title,
    alias: null,
    lycoris: false,
    absolutePath: filename,
    path: withForwardSlashes(splitHash(title).name),
    sha256: full,
    shortHash: full?.slice(0, 10) ?? short?.toLowerCase() ?? null,
    told: null
  }
}
