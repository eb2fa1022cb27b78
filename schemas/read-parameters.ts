import { Type, type Static } from '@sinclair/typebox'
import { Closed, success } from './kit.ts'

export const ParametersToRead = Closed({
  image: Type.Optional(Type.String({
    description: 'PNG, JPEG, WebP, AVIF, GIF, TIFF or BMP as base64 or data URL.',
    examples: ['iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==']
  })),
  text: Type.Optional(Type.String({
    maxLength: 100_000,
    description: 'Generation parameters as A1111 writes them, or the JSON of another program.',
    examples: ['a lighthouse\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512']
  }))
}, {
  $id: 'ParametersToRead', description: 'A picture or a text; one of them.', examples: [{ text: 'a lighthouse\nSteps: 20, Sampler: Euler a' }]
})
export type ParametersToRead = Static<typeof ParametersToRead>

export const ReadParameters = Type.Object({
  success,
  text: Type.String({ description: 'The text in A1111\'s form; empty if a picture has no readable one.' }),
  source: Type.Optional(Type.String({
    description: 'Program that wrote it: A1111 (and its kin), ComfyUI, Fooocus, InvokeAI, NovelAI or SwarmUI.', examples: ['A1111']
  })),
  notes: Type.Optional(Type.Array(Type.String(), {
    description: 'What could not be read or has no counterpart here, each in a sentence.'
  })),
  generation_params: Type.Record(Type.String(), Type.Unknown(), {
    description: 'The same as fields of a submission, values as text; empty where there is nothing.'
  })
}, { $id: 'ReadParameters', description: 'What a picture was made from.' })
