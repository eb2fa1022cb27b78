const models = '/opt/a1111/models'

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
