/** A submission such as people make every day. */
export const ordinaryParameters = {
  prompt: 'a lighthouse on a cliff at dusk, storm clouds, volumetric light, highly detailed, oil on canvas, ' +
    'by the sea, dramatic waves, warm window light, 8k <lora:add-detail:0.6>',
  negative_prompt: 'lowres, bad anatomy, text, error, cropped, worst quality, low quality, jpeg artifacts, watermark',
  steps: 25,
  width: 512,
  height: 512,
  cfg_scale: 7,
  sampler_name: 'DPM++ 2M',
  scheduler: 'Karras',
  seed: -1
}

export function submission (alias: string, more: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return { target_server_alias: alias, generation_params: { ...ordinaryParameters, ...more } }
}
