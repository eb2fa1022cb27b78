import { Type, type SchemaOptions, type Static, type TSchema } from '@sinclair/typebox'

/** A string out of a closed set, as a plain `enum` in the OpenAPI document. */
export function StringEnum<const Values extends readonly string[]> (values: Values, options: SchemaOptions = {}) {
  return Type.Unsafe<Values[number]>({ ...options, type: 'string', enum: values })
}

/** The schema or null. */
export function Nullable<Schema extends TSchema> (schema: Schema, options: SchemaOptions = {}) {
  return Type.Unsafe<Static<Schema> | null>({ ...options, anyOf: [schema, { type: 'null' }] })
}

/** A typed reference to a schema that is registered under its `$id`. */
export function Ref<Schema extends TSchema> (schema: Schema) {
  return Type.Unsafe<Static<Schema>>({ $ref: `${schema.$id}#` })
}

/** A moment as ISO 8601 text in UTC with milliseconds. */
export function Timestamp (description: string) {
  return Type.String({ format: 'date-time', description, examples: ['2026-11-21T09:30:00.000Z'] })
}
