import { createHash } from 'node:crypto'
import type { ManyLoras } from '../settings.ts'

const folder = '/opt/a1111/models/Lora'

/** What kohya's trainer writes into every file; A1111 parses values that look like objects, and no lists. */
function metadataOf (baseModel: string, alias: string): Record<string, unknown> {
  const isLarge = baseModel.startsWith('sdxl')
  const side = isLarge ? 1024 : 512
  return {
    ss_output_name: alias,
    ss_base_model_version: baseModel,
    ss_v2: 'False',
    ss_network_module: 'networks.lora',
    ss_network_dim: '32',
    ss_network_alpha: '16',
    ss_resolution: `(${side}, ${side})`,
    ss_num_train_images: '120',
    ss_epoch: '10',
    ss_mixed_precision: 'bf16',
    ss_training_comment: 'None',
    ss_bucket_info: { buckets: { 0: { resolution: [side, side], count: 120 } }, mean_img_ar_error: 0 },
    ss_dataset_dirs: { '10_images': { n_repeats: 10, img_count: 12 } },
    ss_datasets: `[{"is_dreambooth": true, "batch_size_per_device": 2, "resolution": [${side}, ${side}]}]`,
    'modelspec.sai_model_spec': '1.0.0',
    'modelspec.architecture': isLarge ? 'stable-diffusion-xl-v1-base/lora' : 'stable-diffusion-v1/lora',
    'modelspec.implementation': 'https://github.com/Stability-AI/generative-models',
    'modelspec.resolution': `${side}x${side}`
  }
}

function lora (
  name: string, baseModel: string, alias = name, trained: Record<string, unknown> = {}
): Record<string, unknown> {
  return {
    name, alias, path: `${folder}/${name}.safetensors`, metadata: { ...metadataOf(baseModel, alias), ...trained }
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
    ss_tag_frequency: { '10_film': { 'analog photo': 40, grain: 25, portrait: 6 } },
    'modelspec.trigger_phrase': 'analog film',
    sshs_model_hash: 'f11a9a1f3c5e7b9d0a2c4e6f8091a3b5c7d9e1f30517293b4d5f6071829304a5',
    sshs_legacy_hash: '1f3c5e7b'
  }),
  lora('watercolor-style', 'sd_v1'),
  lora('xl/pixel-art-xl', 'sdxl_base_v1-0', 'pixel-art-xl')
]

/** Pictures that lie beside LoRAs. */
export const loraPreviews: ReadonlySet<string> = new Set([`${folder}/film-grain.preview.png`])

/** The same list of LoRAs with much metadata, one piece for each; the most frequent tag is the name of the LoRA. */
export function * listManyLoras ({ count, metadataBytes }: ManyLoras): Generator<Buffer> {
  const tags = manyTags(metadataBytes)
  yield Buffer.from('[')
  for (let index = 0; index < count; index++) {
    const name = `lora-${String(index).padStart(5, '0')}`
    const text = JSON.stringify(lora(name, index % 2 === 0 ? 'sdxl_base_v1-0' : 'sd_v1', name, {
      'modelspec.trigger_phrase': `trigger ${index}`,
      sshs_model_hash: createHash('sha256').update(name).digest('hex'),
      ss_tag_frequency: { [`10_${name}`]: { [name]: 1_000_000 } }
    }))
    // the tags of all others are the same text, put in behind the first
    const end = text.lastIndexOf(':1000000}') + ':1000000'.length
    yield Buffer.concat([Buffer.from(`${index === 0 ? '' : ','}${text.slice(0, end)}`), tags, Buffer.from(text.slice(end))])
  }
  yield Buffer.from(']')
}

function manyTags (bytes: number): Buffer {
  const parts: string[] = []
  for (let length = 0; length < bytes; length += parts.at(-1)?.length ?? 0) {
    parts.push(`,"some tag ${parts.length}":${parts.length % 97 + 1}`)
  }
  return Buffer.from(parts.join(''))
}
