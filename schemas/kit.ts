import { Type, type ObjectOptions, type SchemaOptions, type Static, type TProperties, type TSchema } from '@sinclair/typebox'

/** A string out of a closed set, as a plain `enum` in the OpenAPI document. */
export function StringEnum<const Values extends readonly string[]> (values: Values, options: SchemaOptions = {}) {
  return Type.Unsafe<Values[number]>({ ...options, type: 'string', enum: values })
}

/**
 * A seed has 64 bits, which JSON numbers hold and JavaScript's do not: beyond 2^53 it is a bigint. `format` tells the
 * compilers of validators and serializers in plugins/core/validation.ts, which know no bigint, to let it pass.
 */
export function SeedNumber (description: string, options: SchemaOptions = {}) {
  return Type.Unsafe<number | bigint>({ type: 'integer', format: 'uint64', ...options, description })
}

export const seedText = {
  seed_text: Type.Union([Type.String(), Type.Null()], {
    description: 'The seed as text, for readers whose numbers end at 2^53.', examples: ['18446744073709551615']
  })
}

/** The schema or null; described as the schema is, unless the options say otherwise. */
export function Nullable<Schema extends TSchema> (schema: Schema, options: SchemaOptions = {}) {
  const { description, ...plain } = schema
  return Type.Unsafe<Static<Schema> | null>({
    ...(description === undefined ? {} : { description }), ...options, anyOf: [plain, { type: 'null' }]
  })
}

/**
 * For the options of an object: the request needs all fields of one of these lists. Handlers check it, because their
 * errors say more than a validator's. plugins/core/client-document.ts demands it in a form that generators can read.
 */
export function needing (...choices: ReadonlyArray<readonly [string, ...string[]]>) {
  return { needs: choices }
}

/** An object that takes no other fields: a request with one is refused, and told which name comes nearest. */
export function Closed<Properties extends TProperties> (properties: Properties, options: ObjectOptions = {}) {
  return Type.Object(properties, { ...options, additionalProperties: false })
}

/** An object whose fields with a default may be left out; who has read it finds all of them. */
export function WithDefaults<Properties extends TProperties> (properties: Properties, options: ObjectOptions = {}) {
  const schema = Type.Object(properties, options)
  const needed = Reflect.get(schema, 'required') as readonly string[] | undefined ?? []
  return Object.assign(schema, { required: needed.filter(name => properties[name]?.default === undefined) })
}

/** The schema as a part of another one, where it must not have a name of its own. */
export function Inline<Schema extends TSchema> ({ $id: _, ...schema }: Schema) {
  return Type.Unsafe<Static<Schema>>(schema)
}

/** A typed reference to a schema that is registered under its `$id`. */
export function Ref<Schema extends TSchema> (schema: Schema) {
  return Type.Unsafe<Static<Schema>>({ $ref: `${schema.$id}#` })
}

/** A body that comes as JSON, or as a form with files. */
export function JsonOrForm<Schema extends TSchema, Form extends TSchema> (json: Schema, form: Form) {
  return { content: { 'application/json': { schema: Ref(json) }, 'multipart/form-data': { schema: Ref(form) } } }
}

/** Always true; false stands in errors. */
export const success = Type.Literal(true, { description: 'Always true: errors have false here.' })

/** A moment as ISO 8601 text in UTC with milliseconds. */
export function Timestamp (description: string) {
  return Type.String({ format: 'date-time', description, examples: ['2026-11-21T09:30:00.000Z'] })
}

/** The cursor of a list that is paged by offset. */
export const OffsetCursor = Type.String({ pattern: '^\\d{1,8}$', description: '`next_cursor` of the page before; it takes precedence over offset.' })

export const nextCursor = Nullable(Type.String(), { description: 'Leads to the next page; null at the end.' })
