import type { Arbitrary } from 'fast-check'
import fc from '../property.ts'

/** A JSON Schema, as far as our OpenAPI document uses it. */
export interface Schema {
  readonly [keyword: string]: unknown
  readonly type?: string | readonly string[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly anyOf?: readonly Schema[]
}

/** Resolves a `$ref`. */
export type Resolve = (schema: Schema) => Schema

/** Any value, because clients send such values. */
const anything = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }), fc.constantFrom(null, '', '\u0000', 'é', -1, 1e308, [], {}, 'x'.repeat(300), '__proto__')
)

/** Mostly valid values for a schema, with a few invalid ones. */
export function valuesOf (schema: Schema, resolve: Resolve, depth = 0): Arbitrary<unknown> {
  const fitting = admitted(resolve(schema), resolve, depth)
  return fc.oneof({ weight: 12, arbitrary: fitting }, { weight: 1, arbitrary: anything })
}

function admitted (schema: Schema, resolve: Resolve, depth: number): Arbitrary<unknown> {
  if (schema.const !== undefined) return fc.constant(schema.const)
  if (Array.isArray(schema.enum)) return fc.constantFrom(...schema.enum as unknown[])
  if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map(one => valuesOf(one, resolve, depth)))
  const types = typeof schema.type === 'string' ? [schema.type] : schema.type ?? ['unknown']
  const own = fc.oneof(...types.map(type => byType[type]?.(schema, resolve, depth) ?? anything))
  return Array.isArray(schema.examples) && !/address|url/i.test(String(schema.description))
    ? fc.oneof(fc.constantFrom(...schema.examples as unknown[]), own)
    : own
}

const byType: Readonly<Record<string, (schema: Schema, resolve: Resolve, depth: number) => Arbitrary<unknown>>> = {
  null: () => fc.constant(null),
  boolean: () => fc.boolean(),
  integer: ({ minimum = -5, maximum = 2 ** 31 }) => fc.integer({ min: Number(minimum), max: Number(maximum) }),
  number: ({ minimum = -5, maximum = 1e6 }) =>
    fc.double({ min: Number(minimum), max: Number(maximum), noNaN: true, noDefaultInfinity: true }),
  string: ({ format, maxLength = 40 }) => format === 'date-time'
    ? fc.date({ noInvalidDate: true }).map(date => date.toISOString())
    : fc.string({ unit: 'grapheme', maxLength: Math.min(Number(maxLength), 40) }),
  array: ({ items = {} }, resolve, depth) =>
    fc.array(valuesOf(items as Schema, resolve, depth + 1), { maxLength: 2 }),
  object: ({ properties = {}, required = [] }, resolve, depth) => {
    const fields = Object.entries(properties).filter(([name]) => required.includes(name) || depth < 2)
    const chosen = fc.subarray(fields, { maxLength: Math.min(fields.length, 6) })
    return chosen.chain(some => fc.record(Object.fromEntries(
      fields.filter(([name, field]) => required.includes(name) || some.some(([, other]) => other === field))
        .map(([name, field]) => [name, valuesOf(field, resolve, depth + 1)]))))
  }
}
