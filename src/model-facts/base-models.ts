import { foldedText } from '../lib/text.ts'

/** The base model that a model was made for. */
export interface BaseModel {
  /** Civitai's word, if it has one. */
  readonly name: string
  /** Models of one family share an architecture: their LoRAs load, and a server runs either all of them or none. */
  readonly family: string
}

/**
 * The current base models and all words for them, reduced to letters and digits; the first matching row counts. Sources
 * of the words:
 * - Civitai's `baseModel` (civitai/civitai, src/shared/constants/base-model.constants.ts): "Flux.1 D", "ZImageTurbo"
 * - modelspec.architecture (Stability-AI/ModelSpec; kohya-ss/sd-scripts, library/sai_model_spec.py; the same file of
 *   kohya-ss/musubi-tuner): "stable-diffusion-xl-v1-base", "flux-1-dev", "lumina-2", "hunyuan-image-2.1"
 * - ss_base_model_version (kohya-ss/sd-scripts, library/train_util.py): "sd_v1", "sdxl_base_v1-0", "flux1"; of
 *   musubi-tuner: "hunyuan_video", "wan", "qwen_image"; of ostris/ai-toolkit: "sd_1.5", "wan21", "zimage"
 * - Forge's "sd version" (extensions-builtin/sd_forge_lora/network.py): "SD1", "SDXL"
 */
const rows: ReadonlyArray<readonly [name: string, family: string, words: RegExp]> = [
  ['Pony V7', 'AuraFlow', /^pony(?:diffusion)?v?7/],
  ['Pony', 'SDXL', /^pony/],
  ['Illustrious', 'SDXL', /^(?:illustrious|ilxl|ilx?$)/],
  ['NoobAI', 'SDXL', /^noob/],
  ['SDXL Turbo', 'SDXL', /^(?:sd|stablediffusion)xl.*turbo/],
  ['SDXL Lightning', 'SDXL', /^(?:sd|stablediffusion)xl.*lightning/],
  ['SDXL Hyper', 'SDXL', /^(?:sd|stablediffusion)xl.*hyper/],
  ['SDXL', 'SDXL', /^(?:sd|stablediffusion)v?xl|^xl$/],
  ['SD 3.5 Large Turbo', 'SD 3', /^(?:sd|stablediffusion)v?35.*turbo/],
  ['SD 3.5 Large', 'SD 3', /^(?:sd|stablediffusion)v?35.*large/],
  ['SD 3.5 Medium', 'SD 3', /^(?:sd|stablediffusion)v?35.*medium/],
  ['SD 3.5', 'SD 3', /^(?:sd|stablediffusion)v?35/],
  ['SD 3', 'SD 3', /^(?:sd|stablediffusion)v?3/],
  ['SD 2.1', 'SD 2', /^(?:sd|stablediffusion)v?21/],
  ['SD 2.0', 'SD 2', /^(?:sd|stablediffusion)v?20/],
  ['SD 2', 'SD 2', /^(?:sd|stablediffusion)v?2/],
  ['SD 1.4', 'SD 1', /^(?:sd|stablediffusion)v?14/],
  ['SD 1.5', 'SD 1', /^(?:sd|stablediffusion)v?1/],
  ['Flux.2 Klein', 'Flux.2', /^flux2.*klein/],
  ['Flux.2 D', 'Flux.2', /^flux2/],
  ['Chroma', 'Chroma', /^(?:flux1?)?chroma/],
  ['Flux.1 Kontext', 'Flux.1', /^flux.*kontext/],
  ['Flux.1 Krea', 'Flux.1', /^flux.*krea/],
  ['Flux.1 S', 'Flux.1', /^flux1?(?:s$|.*schnell)/],
  ['Flux.1 D', 'Flux.1', /^flux1?(?:d$|.*dev)/],
  ['Flux.1', 'Flux.1', /^flux/],
  ['Qwen Image Edit', 'Qwen', /^qwen(?:image)?edit/],
  ['Qwen', 'Qwen', /^qwen/],
  ['Wan Video 2.5', 'Wan Video', /^wan(?:video)?v?25/],
  ['Wan Video 2.2', 'Wan Video', /^wan(?:video)?v?22/],
  ['Wan Video 2.1', 'Wan Video', /^wan(?:video)?(?:v?21|1?[134]+b)/],
  ['Wan Video', 'Wan Video', /^wan/],
  ['HiDream', 'HiDream', /^hidream/],
  ['ZImageTurbo', 'Z-Image', /^zimage.*turbo/],
  ['ZImageBase', 'Z-Image', /^zimage.*base/],
  ['Z-Image', 'Z-Image', /^zimage/],
  ['Hunyuan Video', 'Hunyuan Video', /^hunyuanvideo|^framepack/],
  ['Hunyuan Image', 'Hunyuan Image', /^hunyuanimage/],
  ['Hunyuan 1', 'Hunyuan 1', /^(?:hunyuan|hydit)/],
  ['Lumina', 'Lumina', /^lumina/],
  ['AuraFlow', 'AuraFlow', /^aura/],
  ['Kolors', 'Kolors', /^(?:kwai)?kolors/],
  ['PixArt E', 'PixArt', /^pixart(?:e$|.*sigma)/],
  ['PixArt a', 'PixArt', /^pixart(?:a$|.*alpha)/],
  ['PixArt', 'PixArt', /^pixart/],
  ['Anima', 'Anima', /^anima(?:$|preview|unknown)/],
  ['Stable Cascade', 'Stable Cascade', /^(?:stablecascade|wuerstchen)/],
  ['SVD', 'SVD', /^(?:svd|stablevideo)/],
  ['LTXV', 'LTXV', /^ltx/],
  ['Mochi', 'Mochi', /^mochi/],
  ['CogVideoX', 'CogVideoX', /^cogvideo/],
  ['Playground v2', 'Playground', /^playground/],
  ['OmniGen2', 'OmniGen2', /^omnigen2/]
]

/** The most letters of a word for a base model. */
const longestWord = 100

/** The meaning of a word from any of these sources; null for unknown words. */
export function baseModelOf (word: string): BaseModel | null {
  // "flux-1-dev/lora": the adapter comes last
  const [base = ''] = word.slice(0, longestWord).split('/')
  const plain = foldedText(base).replace(/[^a-z0-9]+/g, '')
  const row = rows.find(([, , words]) => words.test(plain))
  return row === undefined ? null : { name: row[0], family: row[1] }
}

/**
 * Checkpoints of the SDXL architecture that count as base models of their own, by the names that trainers write
 * (ss_sd_model_name).
 */
const finerNames: ReadonlyArray<readonly [name: string, words: RegExp]> = [
  ['Pony', /pony/i],
  ['NoobAI', /noob/i],
  ['Illustrious', /illustrious|(?:^|[\W_])il[\W_]?xl/i]
]

/**
 * The most specific base model among a trainer's words.
 * @param words the most meaningful first, such as modelspec.architecture and ss_base_model_version
 * @param trainedOn file name of the checkpoint
 */
export function trainedBase (words: readonly string[], trainedOn: string): string | null {
  const known = words.flatMap(word => baseModelOf(word) ?? [])
  // "Flux.1" and the like name the family only
  const found = known.find(({ name, family }) => name !== family) ?? known[0]
  if (found?.family !== 'SDXL' || found.name !== 'SDXL') return found?.name ?? null
  return finerNames.find(([, name]) => name.test(trainedOn))?.[0] ?? found.name
}

/** Whether two words mean the same base model, in any spelling. */
export function isSameBase (wanted: string, known: string): boolean {
  if (foldedText(wanted.trim()) === foldedText(known.trim())) return true
  const name = baseModelOf(wanted)?.name
  return name !== undefined && name === baseModelOf(known)?.name
}
