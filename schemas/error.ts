import { Type, type Static } from '@sinclair/typebox'
import { Ref, Timestamp } from './kit.ts'

/** How everything under `/api` says that something went wrong. */
export const ErrorBody = Type.Object({
  success: Type.Literal(false, { description: 'Always false.' }),
  error: Type.String({ description: 'Code out of a fixed list, for programs.', examples: ['invalid_field_value'] }),
  message: Type.String({ description: 'The same for people: what is wrong and what would be right.' }),
  details: Type.Object({
    code: Type.String({ description: 'The same code as in `error`.' }),
    timestamp: Timestamp('When it happened.'),
    request_id: Type.String({ description: 'Also in the header X-Request-Id and in the log.' }),
    field: Type.Optional(Type.String({ description: 'The input that is wrong, in dotted form.' })),
    nearest: Type.Optional(Type.Array(Type.String(), { description: 'Valid names that come closest.' })),
    fields: Type.Optional(Type.Array(Type.Object({
      field: Type.String({ description: 'The input that is wrong, in dotted form.' }),
      message: Type.String({ description: 'What would be right.' })
    }), { description: 'Every wrong input, where there are several.' }))
  }, { additionalProperties: true, description: 'More about the error; fields depend on the code.' })
}, { $id: 'ErrorAnswer', description: 'An error.' })
export type ErrorBody = Static<typeof ErrorBody>

const meanings = {
  400: 'The shape of the request is wrong.',
  401: 'Credentials are missing or wrong.',
  403: 'The credentials do not allow this, or the request comes from a page of another origin.',
  404: 'There is no such thing, or it is not yours.',
  409: 'The state of things forbids it.',
  413: 'Too large.',
  415: 'Not a content type that is understood here.',
  422: 'Well formed, but no server can do it.',
  429: 'Too many requests; Retry-After says when to send the next.',
  500: 'Our own fault.',
  502: 'The Stable Diffusion server does not answer.',
  503: 'Not possible just now; try again.'
} as const

/** Response schemas of a route's errors: those named, and those that every route can give. */
export function errorResponses (...statuses: Array<keyof typeof meanings>) {
  const all = [...new Set([...statuses, 400, 401, 403, 429, 500, 503] as const)]
  return Object.fromEntries(all.map(status => [status, { ...Ref(ErrorBody), description: meanings[status] }]))
}
