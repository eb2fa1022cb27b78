import type { Model } from '../lib/api-types.ts'
import { useState } from 'preact/hooks'
import { emptyIfMissing } from '../lib/images.ts'
import { Icon } from './icon.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/models.ts'

export const modelTypes = {
  checkpoint: t.checkpoints,
  lora: common.loras,
  vae: t.vaes,
  embedding: t.embeddings,
  upscaler: t.upscalers,
  controlnet: t.controlNet,
  other: t.others
}

const words: Readonly<Record<string, string>> = {
  checkpoint: common.checkpoint,
  lora: t.lora,
  vae: common.vae,
  embedding: t.embedding,
  upscaler: common.upscaler,
  controlnet: t.controlNet,
  other: t.other
}

export function typeWord ({ type, lycoris }: Model) {
  return lycoris ? t.lycoris : words[type] ?? type
}

/** A model's preview image, or an icon instead. */
export function ModelPreview ({ model, blurs }: { model: Model, blurs: boolean }) {
  const [isBroken, setBroken] = useState(false)
  return (
    <span class={blurs && model.civitai_nsfw ? 'model-preview blurred' : 'model-preview'}>
      {model.preview_url !== null && !isBroken
        ? <img src={emptyIfMissing(model.preview_url)} alt='' loading='lazy' decoding='async' onError={() => setBroken(true)} />
        : <Icon name='models' />}
    </span>
  )
}
