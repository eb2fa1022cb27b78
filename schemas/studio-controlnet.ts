import { Type, type Static } from '@sinclair/typebox'
import { Nullable, StringEnum } from './kit.ts'

const names = (description: string, examples: string[]) =>
  Type.Array(Type.String(), { description, examples: [examples] })

export const ControlNetModels = Type.Object({
  models: names('Models of all servers.', ['control_v11p_sd15_canny [d14c016b]'])
}, { $id: 'ControlNetModels', description: 'ControlNet models.' })

export const ControlNetModules = Type.Object({
  modules: names('Preprocessors of all servers, as units name them.', ['canny', 'depth_midas', 'openpose_full']),
  preprocessors: names('The same under the name that units have for it.', ['canny', 'depth_midas', 'openpose_full'])
}, { $id: 'ControlNetModules', description: 'ControlNet preprocessors.' })

export const ControlNetTypes = Type.Object({
  control_types: Type.Record(Type.String(), Type.Object({
    module_list: names('Preprocessors that fit.', ['none', 'canny']),
    model_list: names('Models that fit.', ['None', 'control_v11p_sd15_canny [d14c016b]']),
    default_option: Type.String({ description: 'Preprocessor to begin with.', examples: ['canny'] }),
    default_model: Type.String({ description: 'Model to begin with.', examples: ['control_v11p_sd15_canny [d14c016b]'] })
  }), { description: 'By type, such as Canny; All has everything.' })
}, { $id: 'ControlNetTypes', description: 'Matching modules and models of ControlNet.' })
export type ControlNetTypes = Static<typeof ControlNetTypes>

const processor = (description: string) => Type.Optional(Type.String({ maxLength: 200, description, examples: ['canny'] }))
const threshold = (which: string) => Type.Optional(Nullable(Type.Number(), {
  description: `${which} threshold of the preprocessor; its own default where it is left out or does not fit.`, examples: [100]
}))

/** Everything that may stand in the query as well as in the body. */
export const PreprocessSettings = Type.Object({
  processor: processor('Preprocessor. Default: canny.'),
  preprocessor: processor('Another name for it.'),
  processor_res: Type.Optional(Type.Integer({ minimum: 64, maximum: 2048, default: 512, description: 'Resolution of the map.', examples: [512] })),
  threshold_a: threshold('First'),
  threshold_b: threshold('Second'),
  server: Type.Optional(Nullable(Type.String({ maxLength: 64 }), { description: 'Alias of the server that is to do it.', examples: ['Main'] }))
})

const examplePng = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

export const PreprocessRequest = Type.Object({
  file: Type.String({ description: 'The picture. In a form: a file.', examples: [examplePng] }),
  mask: Type.Optional(Nullable(Type.String(), { description: 'Mask, for inpaint preprocessors.', examples: [examplePng] })),
  ...PreprocessSettings.properties
}, { $id: 'PreprocessRequest', description: 'A picture to make a control map of.' })
export type PreprocessRequest = Static<typeof PreprocessRequest>

export const PreprocessAnswer = Type.Object({
  status: StringEnum(['success', 'error'], { description: 'Whether there is a map. If a server cannot make it, the status is still 200, as clients expect.' }),
  preprocessor: Type.String({ description: 'As the server calls it.', examples: ['canny'] }),
  processed_image: Type.Optional(Type.String({ description: 'The map, as base64.' })),
  method: Type.Optional(StringEnum(['api', 'local'], { description: 'Made by a server, or exactly the same here.' })),
  poses: Type.Optional(Type.Array(Type.Unknown(), { description: 'Of openpose preprocessors: the poses that were found.' })),
  error: Type.Optional(Type.String({ description: 'Why there is no map.' }))
}, { $id: 'PreprocessAnswer', description: 'A control map, or why there is none.' })
export type PreprocessAnswer = Static<typeof PreprocessAnswer>
