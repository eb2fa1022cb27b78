import ajvCompiler from '@fastify/ajv-compiler'
import type { FastifyServerOptions } from 'fastify'

type BuildValidator = ajvCompiler.BuildCompilerFromPool

/** The parts of a request that are text by nature, so that their numbers and flags have to be read out of it. */
const textParts = new Set(['querystring', 'params', 'headers'])

/**
 * Bodies are taken as they are: turning null into 0 or text into numbers would change what the client said. Query,
 * path and headers are converted.
 */
const buildValidator: BuildValidator = externalSchemas => {
  const compiler = (customOptions: { coerceTypes: false | 'array', allErrors: boolean }) =>
    ajvCompiler()(externalSchemas, {
      customOptions: { ...customOptions, removeAdditional: false, useDefaults: true, strict: false }
    })
  const asGiven = compiler({ coerceTypes: false, allErrors: true })
  const converting = compiler({ coerceTypes: 'array', allErrors: true })
  return route => (textParts.has((route as { httpPart?: string }).httpPart ?? '') ? converting : asGiven)(route)
}

export const schemaController: NonNullable<FastifyServerOptions['schemaController']> = {
  compilersFactory: { buildValidator }
}
