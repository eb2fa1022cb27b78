import { TypeCompiler } from '@sinclair/typebox/compiler'
import { SocketMessage } from '../../schemas/event.ts'
import { describeUnknownField, unknownFieldsError } from '../../src/a1111/unknown-fields.ts'
import { ServiceError } from '../../src/errors.ts'

const [subscribe, unsubscribe, ping] = SocketMessage.anyOf
const checks = {
  subscribe: TypeCompiler.Compile(subscribe),
  unsubscribe: TypeCompiler.Compile(unsubscribe),
  ping: TypeCompiler.Compile(ping)
} as const
const types = Object.keys(checks)

/** @throws ServiceError `malformed_request` or `invalid_field_value`, naming the field */
export function readMessage (text: string): SocketMessage {
  const value = parse(text)
  const { type } = value as { type?: unknown }
  const known = type === 'subscribe' ? Object.keys(subscribe.properties) : ['type', 'id']
  const check = typeof type === 'string' && Object.hasOwn(checks, type) ? checks[type as keyof typeof checks] : undefined
  if (check === undefined) {
    throw new ServiceError('invalid_field_value', `type must be one of: ${types.join(', ')}.`, { field: 'type' })
  }
  if (check.Check(value)) return value
  const [unknown, ...others] = Object.keys(value).filter(name => !known.includes(name))
    .map(name => describeUnknownField(name, known))
  if (unknown !== undefined) throw unknownFieldsError([unknown, ...others])
  const fault = check.Errors(value).First()
  const field = fault?.path.slice(1).replaceAll('/', '.') ?? ''
  throw new ServiceError('invalid_field_value', `${field} is not right: ${fault?.message.toLowerCase()}.`, { field })
}

function parse (text: string): object {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value
  } catch {
    // said below
  }
  throw new ServiceError('malformed_request', 'A message must be a JSON object such as {"type":"subscribe","id":"all"}.')
}
