import { outputSize } from '../a1111/limits.ts'

/**
 * What of these parameters takes the most memory at once and can be made smaller, as a sentence for whoever sent a
 * job that ran out of it twice.
 */
export function memoryAdvice (parameters: Readonly<Record<string, unknown>>): string {
  const batch = Number(parameters.batch_size ?? 1)
  const rounds = Number(parameters.n_iter ?? 1)
  if (batch > 1) return `Try batch_size 1 and n_iter ${batch * rounds}: the same images, generated one after another.`
  if (parameters.enable_hr === true) {
    const scale = Number(parameters.hr_scale ?? 2)
    if (scale > 1.25) return `Try hr_scale ${Math.max(1.25, Math.round(scale * 0.75 * 4) / 4)} instead of ${scale}.`
  }
  const { width, height } = outputSize(parameters)
  const smaller = (side: number) => Math.max(64, Math.floor(side * 0.7 / 64) * 64)
  return `Try ${smaller(width)}x${smaller(height)} instead of ${width}x${height}, about half the pixels.`
}
