import { Type } from '@sinclair/typebox'

const names = (description: string, example: string) =>
  Type.Array(Type.String(), { description, examples: [[example]] })

export const StudioModels = Type.Object({
  checkpoints: names('Checkpoints by model name.', 'dreamscape-v8'),
  vaes: names('VAEs.', 'Automatic'),
  samplers: names('Samplers.', 'DPM++ 2M'),
  upscalers: names('Upscalers.', 'R-ESRGAN 4x+'),
  schedulers: names('Noise schedules.', 'Karras'),
  loras: names('LoRAs.', 'film-grain'),
  controlnet_models: names('ControlNet models.', 'control_v11p_sd15_canny [d14c016b]'),
  controlnet_modules: names('ControlNet preprocessors.', 'canny'),
  scripts: names('Scripts of extensions.', 'controlnet')
}, { $id: 'StudioModels', description: 'What all servers together have.' })
