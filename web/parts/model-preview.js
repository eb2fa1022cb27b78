import { html, useState } from '../lib/html.js'
import { Icon } from './icon.js'

export const modelTypes = {
  checkpoint: 'Checkpoints',
  lora: 'LoRAs',
  vae: 'VAEs',
  embedding: 'Embeddings',
  upscaler: 'Upscalers',
  controlnet: 'ControlNet',
  other: 'Others'
}

const words = {
  checkpoint: 'Checkpoint', lora: 'LoRA', vae: 'VAE', embedding: 'Embedding', upscaler: 'Upscaler', controlnet: 'ControlNet', other: 'Other'
}

export function typeWord ({ type, lycoris }) {
  return lycoris ? 'LyCORIS' : words[type] ?? type
}

/** A model's preview image, or an icon instead. */
export function ModelPreview ({ model, blurs }) {
  const [isBroken, setBroken] = useState(false)
  const isShown = model.preview_url !== null && !isBroken
  return html`
    <span class=${blurs && model.civitai_nsfw ? 'model-preview blurred' : 'model-preview'}>
      ${isShown
        ? html`<img src=${model.preview_url} alt="" loading="lazy" decoding="async" onError=${() => setBroken(true)} />`
        : html`<${Icon} name="models" />`}
    </span>`
}
