import ajvCompiler from '@fastify/ajv-compiler'
import type { FastifyServerOptions } from 'fastify'

type BuildValidator = ajvCompiler.BuildCompilerFromPool

/** The parts of a request that are text by nature, so that their numbers and flags have to be read out of it. */
const textParts = new Set(['querystring', 'params', 'headers'])

/**
 * JSON bodies are taken as they are: turning null into 0, text into numbers or silence into a default would change
 * what the client said. Query, path, headers and forms are converted.
 */
const buildValidator: BuildValidator = externalSchemas => {
  const compiler = (customOptions: { coerceTypes: false | 'array', useDefaults: boolean, allErrors: boolean }) =>
    ajvCompiler()(externalSchemas, {
      customOptions: { ...customOptions, removeAdditional: false, strict: false }
    })
  const asGiven = compiler({ coerceTypes: false, useDefaults: false, allErrors: true })
  const converting = compiler({ coerceTypes: 'array', useDefaults: true, allErrors: true })
  const convertingForm = compiler({ coerceTypes: 'array', useDefaults: false, allErrors: true })
  return route => {
    const { httpPart = '', contentType } = route as { httpPart?: string, contentType?: string }
    if (contentType === 'multipart/form-data') return convertingForm(route)
    return (textParts.has(httpPart) ? converting : asGiven)(route)
  }
}

export const schemaController: NonNullable<FastifyServerOptions['schemaController']> = {
  compilersFactory: { buildValidator }
}
