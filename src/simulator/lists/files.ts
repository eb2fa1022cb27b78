const models = '/opt/a1111/models'

function lora (
  name: string, baseModel: string, alias = name, trained: Record<string, unknown> = {}
): Record<string, unknown> {
  return {
    name,
    alias,
    path: `${models}/Lora/${name}.safetensors`,
    metadata: {
      ss_output_name: alias, ss_base_model_version: baseModel, ss_network_dim: '32', ss_network_alpha: '16', ...trained
    }
  }
}

/** GET /sdapi/v1/loras: those that were asked for, or a few of different kinds. */
export function listLoras (names: readonly string[] | null): ReadonlyArray<Record<string, unknown>> {
  return names === null ? ownLoras : names.map(name => lora(name, 'sd_v1'))
}

const ownLoras = [
  lora('add-detail', 'sd_v1', 'add_detail'),
  lora('film-grain', 'sd_v1', 'film-grain', {
    ss_sd_model_name: 'v1-5-pruned.safetensors',
    // values that look like objects come parsed
    ss_tag_frequency: { '10_film': { 'analog photo': 40, grain: 25, portrait: 6 } },
    'modelspec.trigger_phrase': 'analog film',
    sshs_model_hash: 'f11a9a1f3c5e7b9d0a2c4e6f8091a3b5c7d9e1f30517293b4d5f6071829304a5'
  }),
  lora('watercolor-style', 'sd_v1'),
  lora('xl/pixel-art-xl', 'sdxl_base_v1-0', 'pixel-art-xl')
]

/** Pictures that lie beside LoRAs. */
export const loraPreviews: ReadonlySet<string> = new Set([`${models}/Lora/film-grain.preview.png`])

/** GET /sdapi/v1/sd-vae (in Forge sd-modules). */
export const vaes = ['vae-ft-mse-840000-ema-pruned.safetensors', 'sdxl_vae.safetensors']
  .map(name => ({ model_name: name, filename: `${models}/VAE/${name}` }))

/** GET /sdapi/v1/sd-modules of Forge: text encoders stand among the VAEs. */
export const modules = [
  ...vaes, { model_name: 't5xxl_fp16.safetensors', filename: `${models}/text_encoder/t5xxl_fp16.safetensors` }
]

function embedding (vectors: number): Record<string, unknown> {
  return { step: null, sd_checkpoint: null, sd_checkpoint_name: null, shape: 768, vectors }
}

/** GET /sdapi/v1/embeddings: what fits the loaded checkpoint and what does not. */
export const embeddings = {
  loaded: { 'easy-negative': embedding(8), 'bad-hands-5': embedding(6) },
  skipped: { 'unaesthetic-xl': { ...embedding(2), shape: 1280 } }
}

/** GET /sdapi/v1/extensions: those that may be installed. */
export const controlNetExtension = {
  name: 'sd-webui-controlnet',
  remote: 'https://github.com/Mikubill/sd-webui-controlnet.git',
  branch: 'main',
  commit_hash: '56cec5b2958edf3b1807b7e7b2b1b5186dbd2f81',
  version: '56cec5b2',
  commit_date: 1721962620,
  enabled: true
}

export const regionalPrompterExtension = {
  name: 'sd-webui-regional-prompter',
  remote: 'https://github.com/hako-mikan/sd-webui-regional-prompter.git',
  branch: 'main',
  commit_hash: 'be62345',
  version: 'be62345',
  commit_date: 1750636800,
  enabled: true
}
