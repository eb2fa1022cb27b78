import type { Model } from '../lib/api-types.ts'
import { useState } from 'preact/hooks'
import { Icon } from './icon.tsx'

export const modelTypes = {
  checkpoint: 'Checkpoints',
  lora: 'LoRAs',
  vae: 'VAEs',
  embedding: 'Embeddings',
  upscaler: 'Upscalers',
  controlnet: 'ControlNet',
  other: 'Others'
}

const words: Readonly<Record<string, string>> = {
  checkpoint: 'Checkpoint', lora: 'LoRA', vae: 'VAE', embedding: 'Embedding', upscaler: 'Upscaler', controlnet: 'ControlNet', other: 'Other'
}

export function typeWord ({ type, lycoris }: Model) {
  return lycoris ? 'LyCORIS' : words[type] ?? type
}

/** A model's preview image, or an icon instead. */
export function ModelPreview ({ model, blurs }: { model: Model, blurs: boolean }) {
  const [isBroken, setBroken] = useState(false)
  return (
    <span class={blurs && model.civitai_nsfw ? 'model-preview blurred' : 'model-preview'}>
      {model.preview_url !== null && !isBroken
        ? <img src={model.preview_url} alt='' loading='lazy' decoding='async' onError={() => setBroken(true)} />
        : <Icon name='models' />}
    </span>
  )
}
