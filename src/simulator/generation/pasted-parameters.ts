import { readInfotext } from './infotext-read.ts'

/** What A1111 adds to every infotext that it reads, unless the text says otherwise. */
const additions: Readonly<Record<string, unknown>> = {
  'Clip skip': '1',
  'Hires resize-1': 0,
  'Hires resize-2': 0,
  'Hires sampler': 'Use same sampler',
  'Hires schedule type': 'Use same scheduler',
  'Hires checkpoint': 'Use same checkpoint',
  'Hires prompt': '',
  'Hires negative prompt': '',
  'Mask mode': 'Inpaint masked',
  'Masked content': 'original',
  'Inpaint area': 'Whole picture',
  'Masked area padding': 32,
  RNG: 'GPU',
  'Schedule type': 'Automatic',
  'Schedule max sigma': 0,
  'Schedule min sigma': 0,
  'Schedule rho': 0,
  'VAE Encoder': 'Full',
  'VAE Decoder': 'Full',
  'FP8 weight': 'Disable',
  'Refiner switch by sampling steps': false
}

/** And Forge besides. */
export const forgeAdditions: Readonly<Record<string, unknown>> = { 'Hires VAE/TE': ['Use same choices'] }

/** The `parameters` of POST /sdapi/v1/png-info; whatever stood in the text is a string. */
export function readPastedParameters (
  infotext: string, more: Readonly<Record<string, unknown>> = {}
): Record<string, unknown> {
  const { prompt, negativePrompt, parameters } = readInfotext(infotext)
  return { ...additions, ...more, ...parameters, Prompt: prompt, 'Negative prompt': negativePrompt }
}
