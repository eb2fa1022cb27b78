import ajvCompiler from '@fastify/ajv-compiler'
import type { FastifyInstance } from 'fastify'
import type { Schema } from './arbitrary.ts'

/** One operation of the OpenAPI document, with its path and method. */
export interface Operation {
  readonly method: string
  readonly path: string
  readonly operationId?: string
  readonly summary?: string
  readonly description?: string
  readonly tags?: readonly string[]
  readonly parameters: ReadonlyArray<{
    name: string, in: string, required?: boolean, description?: string, schema: Schema
  }>
  /** Schemas of the request's body by content type. */
  readonly bodies: Readonly<Record<string, Schema>>
  readonly responses: Readonly<Record<string, { description: string, content?: Record<string, { schema?: Schema }> }>>
}

/** A service's own documentation, for walking through it. */
export function readDocument (app: FastifyInstance) {
  const document = JSON.parse(JSON.stringify(app.swagger())) as {
    paths: Record<string, Record<string, Omit<Operation, 'method' | 'path' | 'bodies'> & {
      requestBody?: { content: Record<string, { schema: Schema }> }
    }>>
    components: { schemas: Record<string, Schema> }
    tags: Array<{ name: string }>
  }
  const operations = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, { parameters, requestBody, ...operation }]): Operation => ({
      ...operation,
      method: method.toUpperCase(),
      path,
      parameters: parameters ?? [],
      bodies: Object.fromEntries(Object.entries(requestBody?.content ?? {}).map(([type, { schema }]) => [type, schema]))
    })))
  const resolve = (schema: Schema): Schema => typeof schema.$ref === 'string'
    ? resolve(document.components.schemas[schema.$ref.replace('#/components/schemas/', '')] ?? {})
    : schema

  // Named once, so that each is compiled once and not again in every schema that refers to it.
  const named = Object.fromEntries(Object.entries(document.components.schemas)
    .map(([name, schema]) => [name, { ...byName(schema) as Schema, $id: name }]))
  const compile = ajvCompiler()(named, {
    customOptions: {
      formats: { uint64: true },
      strict: false,
      allErrors: true,
      coerceTypes: false,
      removeAdditional: false,
      code: { optimize: false }
    }
  })
  const checks = new Map<Schema, ReturnType<typeof compile>>()
  /** The error of a body by a schema of the document, references included; null if the body is valid. */
  function faultOf (schema: Schema, body: unknown): string | null {
    const check = checks.get(schema) ?? compile({ schema: byName(schema) } as never)
    checks.set(schema, check)
    return check(body) === true ? null : JSON.stringify(check.errors)
  }

  return { document, operations, resolve, faultOf }
}

/** A schema that refers to others by their names alone, in place of their places in the document. */
function byName (schema: unknown): unknown {
  return JSON.parse(JSON.stringify(schema).replaceAll('"$ref":"#/components/schemas/', '"$ref":"'))
}

/** Names of all properties without a description in a schema, nested ones included. */
export function undescribed (schema: Schema, place: string): string[] {
  const properties = Object.entries(schema.properties ?? {})
  const bare = properties.filter(([, field]) => field.description === undefined && field.$ref === undefined)
  const inner: Array<[string, Schema]> = [
    ...properties,
    ...['items', 'additionalProperties'].filter(name => typeof schema[name] === 'object')
      .map((name): [string, Schema] => [name, schema[name] as Schema]),
    ...(schema.anyOf ?? []).map((one, index): [string, Schema] => [String(index), one])
  ]
  const below = inner.flatMap(([name, one]) => undescribed(one, `${place}.${name}`))
  return [...bare.map(([name]) => `${place}.${name}`), ...below]
}
