import type { Family } from '../flavors.ts'

const models = '/opt/a1111/models'

/** GET /sdapi/v1/sd-vae (in Forge sd-modules). */
export const vaes = ['vae-ft-mse-840000-ema-pruned.safetensors', 'sdxl_vae.safetensors']
  .map(name => ({ model_name: name, filename: `${models}/VAE/${name}` }))

/** GET /sdapi/v1/sd-modules of Forge: text encoders are among the VAEs. */
export const modules = [
  ...vaes, { model_name: 't5xxl_fp16.safetensors', filename: `${models}/text_encoder/t5xxl_fp16.safetensors` }
]

function embedding (vectors: number): Record<string, unknown> {
  return { step: null, sd_checkpoint: null, sd_checkpoint_name: null, shape: 768, vectors }
}

/** GET /sdapi/v1/embeddings: those that fit the loaded checkpoint and those that do not. */
export const embeddings = {
  loaded: { 'easy-negative': embedding(8), 'bad-hands-5': embedding(6) },
  skipped: { 'unaesthetic-xl': { ...embedding(2), shape: 1280 } }
}

/** GET /sdapi/v1/extensions: the optional ones. */
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

/** An upscaler as GET /sdapi/v1/upscalers shows it. */
export interface Upscaler {
  readonly name: string
  readonly model_name: string | null
  readonly model_path: string | null
  readonly model_url: string | null
  readonly scale: number
}

function upscaler (name: string, scale: number, path: string | null = null, modelName: string | null = null): Upscaler {
  return { name, model_name: modelName, model_path: path && `https://github.com/${path}`, model_url: null, scale }
}

const scunet = 'cszn/KAIR/releases/download/v1.0/scunet_color_real'
const realEsrgan = 'xinntao/Real-ESRGAN/releases/download'
const dat = 'n0kovo/dat_upscaler_models/raw/main/DAT'

/** The upscalers of a fresh A1111 1.10.1, and one that most people add. */
export const upscalers: readonly Upscaler[] = [
  upscaler('None', 4),
  upscaler('Lanczos', 4),
  upscaler('Nearest', 4),
  upscaler('DAT x2', 2, `${dat}/DAT_x2.pth`),
  upscaler('DAT x3', 3, `${dat}/DAT_x3.pth`),
  upscaler('DAT x4', 4, `${dat}/DAT_x4.pth`),
  upscaler('ESRGAN_4x', 4, 'cszn/KAIR/releases/download/v1.0/ESRGAN.pth', 'ESRGAN_4x'),
  upscaler('LDSR', 4),
  upscaler('R-ESRGAN 4x+', 4, `${realEsrgan}/v0.1.0/RealESRGAN_x4plus.pth`),
  upscaler('R-ESRGAN 4x+ Anime6B', 4, `${realEsrgan}/v0.2.2.4/RealESRGAN_x4plus_anime_6B.pth`),
  upscaler('ScuNET GAN', 4, `${scunet}_gan.pth`, 'ScuNET GAN'),
  upscaler('ScuNET PSNR', 4, `${scunet}_psnr.pth`, 'ScuNET GAN'),
  upscaler('SwinIR 4x', 4,
    'JingyunLiang/SwinIR/releases/download/v0.0/003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN.pth', 'SwinIR 4x'),
  upscaler('4x-UltraSharp', 4)
]

/** Forge has no LDSR, and this one has only its bundled files. */
const forgeUpscalers = upscalers.filter(({ name }) => !['LDSR', '4x-UltraSharp'].includes(name))

export function upscalersOf (family: Family): readonly Upscaler[] {
  return family === 'forge' ? forgeUpscalers : upscalers
}

export const latentUpscaleModes: readonly string[] = [
  'Latent', 'Latent (antialiased)', 'Latent (bicubic)', 'Latent (bicubic antialiased)', 'Latent (nearest)',
  'Latent (nearest-exact)'
]

export const realEsrganModels: ReadonlyArray<{ name: string, path: string, scale: number }> = [
  ['R-ESRGAN General 4xV3', 'v0.2.5.0/realesr-general-x4v3', 4] as const,
  ['R-ESRGAN General WDN 4xV3', 'v0.2.5.0/realesr-general-wdn-x4v3', 4] as const,
  ['R-ESRGAN AnimeVideo', 'v0.2.5.0/realesr-animevideov3', 4] as const,
  ['R-ESRGAN 4x+', 'v0.1.0/RealESRGAN_x4plus', 4] as const,
  ['R-ESRGAN 4x+ Anime6B', 'v0.2.2.4/RealESRGAN_x4plus_anime_6B', 4] as const,
  ['R-ESRGAN 2x+', 'v0.2.1/RealESRGAN_x2plus', 2] as const
].map(([name, file, scale]) => ({ name, path: `https://github.com/${realEsrgan}/${file}.pth`, scale }))

export const faceRestorers = [{ name: 'CodeFormer', cmd_dir: null }, { name: 'GFPGAN', cmd_dir: null }]

/** Saved styles, as GET /sdapi/v1/prompt-styles shows them. */
export const promptStyles = [
  { name: 'Cinematic', prompt: 'cinematic still of {prompt}, film grain, shallow depth of field', negative_prompt: 'cartoon' },
  { name: 'Watercolour', prompt: 'watercolour painting, soft edges', negative_prompt: 'photo, sharp' },
  { name: 'Clean', prompt: '', negative_prompt: 'blurry, low quality, watermark' }
] as const

/** Forge has two files of styles, each under a line of its own that has no prompts. */
export const forgeStyles = [
  { name: divider('STYLES'), prompt: null, negative_prompt: null }, ...promptStyles,
  { name: divider('STYLES_INTEGRATED'), prompt: null, negative_prompt: null }
]

function divider (name: string): string {
  const text = ` ${name} `
  return text.padStart(Math.floor((40 + text.length) / 2), '-').padEnd(40, '-')
}

/** Merges styles into both prompts: in place of `{prompt}`, or behind a comma; unknown names change nothing. */
export function applyStyles (
  prompt: string, negativePrompt: string, names: readonly string[]
): { prompt: string, negativePrompt: string } {
  const styles = names.flatMap(name => promptStyles.filter(style => style.name === name))
  return {
    prompt: styles.reduce<string>((text, style) => merge(text, style.prompt), prompt),
    negativePrompt: styles.reduce<string>((text, style) => merge(text, style.negative_prompt), negativePrompt)
  }
}

function merge (text: string, style: string): string {
  if (style.includes('{prompt}')) return style.replaceAll('{prompt}', text)
  return [text.trim(), style.trim()].filter(part => part !== '').join(', ')
}
