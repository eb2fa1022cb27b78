import { bareName, findNamed } from './names.ts'
import type { Inventory } from './types.ts'

type Lora = Inventory['loras'][number]

/** What `sd_vae` may say besides a file: choose by the checkpoint's name, or use the one inside the checkpoint. */
const vaeWords = ['Automatic', 'None']

/** A VAE (on Forge also a text encoder) by name, with or without folder and ending, in any case. */
export function findVae (wanted: string, inventory: Pick<Inventory, 'vaes'>): string | null {
  return findNamed(wanted, vaeWords, word => [word]) ?? findFile(wanted, inventory.vaes)
}

function findFile (wanted: string, files: readonly string[]): string | null {
  return findNamed(wanted, files, file => [file]) ?? findNamed(bareName(wanted), files, file => [bareName(file)])
}

/** A LoRA by the name or alias that tags use; paths and endings are cut off, since tags never have them. */
export function findLora (wanted: string, inventory: Pick<Inventory, 'loras'>): Lora | null {
  return findNamed(wanted, inventory.loras, lora => [lora.name]) ??
    findNamed(wanted, inventory.loras, lora => [lora.alias]) ??
    findNamed(bareName(wanted), inventory.loras, lora => [lora.name])
}

/** A latent mode or an upscaler for hires fix, in any case. */
export function findUpscaler (
  wanted: string, inventory: Pick<Inventory, 'latentUpscaleModes' | 'upscalers'>
): string | null {
  return findListed(wanted, inventory.latentUpscaleModes) ?? findFile(wanted, inventory.upscalers)
}

/** A style, script or other plain name, in any case. */
export function findListed (wanted: string, names: readonly string[]): string | null {
  return findNamed(wanted, names, name => [name])
}
