import { visitImages } from '../a1111/images.ts'
import { ServiceError } from '../lib/errors.ts'
import { stringifyJson } from '../lib/exact-json.ts'

const maxMetadataBytes = 4096
/** Every list of jobs reads the parameters of each, so a few huge ones would delay all clients; in characters. */
const maxParameterCharacters = 1_048_576

/** @throws ServiceError `invalid_field_value` if the client's own JSON is too long */
export function checkMetadata (metadata: unknown): void {
  if (metadata === undefined || Buffer.byteLength(stringifyJson(metadata)) <= maxMetadataBytes) return
  throw new ServiceError('invalid_field_value', name => `${name} must have at most ${maxMetadataBytes} bytes as JSON.`,
    { field: 'metadata' })
}

/** @throws ServiceError `payload_too_large` */
export function refuseHugeParameters (parameters: Readonly<Record<string, unknown>>): void {
  // JSON has at most six characters for one, and 25 for a number.
  const mostOf = (one: unknown) => typeof one === 'string' ? 6 * one.length : typeof one === 'object' ? Infinity : 25
  const most = Object.keys(parameters).reduce((sum, name) => sum + mostOf(name) + mostOf(parameters[name]), 0)
  if (most <= maxParameterCharacters / 2) return
  let images = 0
  visitImages(parameters, ({ image }) => { images += String(image).length })
  const characters = JSON.stringify(parameters).length - images
  if (characters <= maxParameterCharacters) return
  throw new ServiceError('payload_too_large', `The parameters have ${characters} characters beside their images; ` +
    `at most ${maxParameterCharacters} are kept.`)
}
