import type { Preset } from '../../schemas/studio-preset.ts'
import type { KeptImages } from '../../src/studio/kept-images.ts'
import type { StoredPreset } from '../../src/studio/presets.ts'
import { studioTime } from '../../src/studio/words.ts'

/** A preset as clients see it; pictures as texts that they may send again. */
export async function renderPreset (images: KeptImages, preset: StoredPreset): Promise<Preset> {
  const { id, name, description, config, createdAt, lastUsedAt, shared, shareCode, copiedFrom, uses } = preset
  return {
    preset_id: id,
    name,
    description,
    config: await images.show(config),
    created_at: studioTime(createdAt),
    last_used: lastUsedAt === null ? null : studioTime(lastUsedAt),
    shared,
    share_code: shared === 'private' ? null : shareCode,
    copied_from: copiedFrom,
    uses
  }
}
