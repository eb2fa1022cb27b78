import ajvCompiler from '@fastify/ajv-compiler'
import type { TObject, TSchema } from '@sinclair/typebox'
import fastJsonStringify, { type Schema } from 'fast-json-stringify'
import type { FastifyServerOptions } from 'fastify'
import { namesOf } from '../../schemas/a1111-fields.ts'
import { A1111Parameters } from '../../schemas/generation-parameters.ts'
import { withExactIntegers } from '../../src/lib/exact-json.ts'
import { isUploadedImage } from '../../src/lib/media-types.ts'

/**
 * Compiling schemas with Ajv and fast-json-stringify would take most of a start and a quarter of the memory, and most
 * routes are never called in a process. So a schema is compiled at first use, once in a process.
 */

/** Compilations that were not needed yet. */
const waiting = new Set<() => unknown>()

/** The value, computed at first use and then kept. */
function onceAsked<Value> (make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined
  const ask = () => {
    waiting.delete(ask)
    made ??= { value: make() }
    return made.value
  }
  waiting.add(ask)
  return ask
}

/**
 * One value for each schema, computed at first use. Routes refer to the same named schema with objects of their own,
 * and each instance of Fastify makes its own, so the text of a schema tells whether it was compiled before.
 */
function onceFor<Value> (make: (schema: object) => Value): (schema: object) => () => Value {
  const known = new WeakMap<object, () => Value>()
  const byText = new Map<string, Value>()
  return schema => {
    const found = known.get(schema)
    if (found !== undefined) return found
    const made = onceAsked(() => {
      const text = JSON.stringify(schema)
      const value = byText.get(text) ?? make(schema)
      byText.set(text, value)
      return value
    })
    known.set(schema, made)
    return made
  }
}

/**
 * Compiles the rest, which tests check.
 * @throws Error of the first schema that cannot be compiled
 */
export function compileWaiting (): void {
  for (const compile of waiting) compile()
}

type Compilers = NonNullable<NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']>
type BuildSerializer = NonNullable<Compilers['buildSerializer']>
type BuildValidator = ajvCompiler.BuildCompilerFromPool

/** The parts of a request that are text by nature, so that numbers and flags must be parsed. */
const textParts = new Set(['querystring', 'params', 'headers'])

/**
 * JSON bodies stay as they are: turning null into 0, text into numbers or a missing value into a default would change
 * the client's meaning. Query, path, headers and forms are converted.
 */
const buildValidator: BuildValidator = externalSchemas => validatorsFor(externalSchemas as NamedSchemas)

type ValidatorCompiler = ReturnType<BuildValidator>

/**
 * Every context of Fastify asks for compilers of its own. Each name of a schema is defined once, in schemas/, so that
 * the same names mean the same schemas.
 */
const validatorsFor = onceForNames((externalSchemas): ValidatorCompiler => {
  const validators = (customOptions: { coerceTypes: false | 'array', useDefaults: boolean, allErrors: boolean }) => {
    const compiler = onceAsked(() => {
      const schemas = withUploads(externalSchemas)
      const add: { one?: (named: object) => void } = {}
      const compile = ajvCompiler()({}, {
        // verbose: the schema that refuses an unknown field knows the names that it takes. Tests check the schemas.
        customOptions: {
          ...customOptions,
          keywords: [uploaded],
          removeAdditional: false,
          strict: false,
          verbose: true,
          meta: false,
          validateSchema: false,
          // Shortening the code takes a quarter of compiling it, and makes no check faster.
          code: { optimize: false }
        },
        onCreate: ajv => { add.one = named => { ajv.addSchema(named) } }
      })
      const added = new Set<string>()
      // Ajv reads each named schema that it gets: hence only those that the schema refers to.
      return (schema: object) => {
        for (const [name, named] of Object.entries(reachableFrom(schema, schemas))) {
          if (!added.has(name)) add.one?.(withSeedsOfAnySize(named) as object)
          added.add(name)
        }
        return compile(withSeedsOfAnySize({ schema }) as Parameters<ValidatorCompiler>[0])
      }
    })
    return onceFor(schema => compiler()(schema))
  }
  const asGiven = validators({ coerceTypes: false, useDefaults: false, allErrors: true })
  const converting = validators({ coerceTypes: 'array', useDefaults: true, allErrors: true })
  const convertingForm = validators({ coerceTypes: 'array', useDefaults: false, allErrors: true })
  return (route => {
    const { httpPart = '', contentType, schema } = route as {
      httpPart?: string, contentType?: string, schema: object
    }
    if (contentType === 'multipart/form-data') return deferred(convertingForm(schema))
    return deferred((textParts.has(httpPart) ? converting : asGiven)(schema))
  }) as ValidatorCompiler
})

type Validator = ReturnType<ValidatorCompiler>

/** Replaces a validator until there is something to validate; Fastify reads the errors from the function. */
function deferred (validator: () => Validator): Validator {
  const validate: Partial<Validator> & ((data: unknown) => unknown) = data => {
    const compiled = validator()
    const valid = compiled(data)
    validate.errors = compiled.errors ?? null
    return valid
  }
  return validate as Validator
}

/** One value for the same names of schemas. */
function onceForNames<Value> (make: (schemas: NamedSchemas) => Value): (schemas: NamedSchemas) => Value {
  const known = new Map<string, Value>()
  // Contexts have the same object, until one adds a schema of its own.
  const bySchemas = new WeakMap<NamedSchemas, Value>()
  return schemas => {
    const same = bySchemas.get(schemas)
    if (same !== undefined) return same
    const names = JSON.stringify(Object.keys(schemas).toSorted())
    const found = known.get(names) ?? make(schemas)
    known.set(names, found)
    bySchemas.set(schemas, found)
    return found
  }
}

/** Schemas by the `$id` under which others refer to them. */
type NamedSchemas = Readonly<Record<string, unknown>>

/**
 * The schema without seeds' types: neither Ajv nor fast-json-stringify takes a bigint for an integer. The reader of a
 * seed checks it (`readValue` of src/a1111/field-values.ts).
 */
function withSeedsOfAnySize (schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withSeedsOfAnySize)
  if (typeof schema !== 'object' || schema === null) return schema
  if (Reflect.get(schema, 'format') === 'uint64') return {}
  return Object.fromEntries(Object.entries(schema).map(([name, part]) => [name, withSeedsOfAnySize(part)]))
}

/** Holds for an image that was uploaded. */
const uploaded = { keyword: 'uploaded', validate: (_schema: true, value: unknown) => isUploadedImage(value) }
const imageNames = new Set<string>(namesOf(A1111Parameters.properties, ({ isImage }) => isImage === true))

/** Fields that hold images, by the schema that has them. */
const imageFields: Readonly<Record<string, ReadonlySet<string>>> = {
  GenerationParameters: imageNames,
  OpenAiEdit: new Set(['image', 'mask']),
  OpenAiEditForm: new Set(['image', 'mask']),
  OpenAiVariationForm: new Set(['image']),
  OpenAiImageSource: new Set(['image_url'])
}

/** The schemas that also take images that were uploaded: inside, these are no text. */
function withUploads (schemas: NamedSchemas): NamedSchemas {
  return Object.fromEntries(Object.entries(schemas).map(([schemaName, schema]) => {
    const names = imageFields[schemaName]
    if (names === undefined) return [schemaName, schema]
    const { properties, ...rest } = schema as TObject
    const fields = Object.entries(properties)
      .map(([name, field]) => [name, names.has(name) ? orUploaded(field) : field])
    return [schemaName, { ...rest, properties: Object.fromEntries(fields) as object }]
  }))
}

function orUploaded ({ items, ...field }: TSchema): object {
  const ofItems = items === undefined ? {} : { items: orUploaded(items as TSchema) }
  return { if: { uploaded: true }, else: { ...field, ...ofItems } }
}

/** Those of the schemas that one refers to or contains, directly or through others. */
function reachableFrom (schema: unknown, schemas: NamedSchemas): Record<string, unknown> {
  const found = new Map<string, unknown>()
  function visit (part: unknown): void {
    if (typeof part !== 'object' || part === null) return
    for (const [name, value] of Object.entries(part)) {
      visit(value)
      if ((name !== '$ref' && name !== '$id') || typeof value !== 'string') continue
      const id = value.split('#')[0] ?? ''
      if (found.has(id) || !(id in schemas)) continue
      found.set(id, schemas[id])
      visit(schemas[id])
    }
  }
  visit(schema)
  return Object.fromEntries(found)
}

/**
 * fast-json-stringify reads every schema that it gets, again for every answer of every route; hence only those that an
 * answer refers to.
 */
const buildSerializer: BuildSerializer = (externalSchemas = {}) => serializersFor(externalSchemas as NamedSchemas)

type SerializerCompiler = ReturnType<BuildSerializer>

const serializersFor = onceForNames((externalSchemas): SerializerCompiler => {
  const serializer = onceFor(schema => {
    const needed = reachableFrom(schema, externalSchemas) as Record<string, Schema>
    return fastJsonStringify(withSeedsOfAnySize(schema) as Schema, {
      schema: withSeedsOfAnySize(needed) as Record<string, Schema>
    })
  })
  return ({ schema = {} }) => {
    const stringify = serializer(schema as object)
    return document => withExactIntegers(() => stringify()(document as object))
  }
})

type SchemaController = NonNullable<FastifyServerOptions['schemaController']>
type Bucket = ReturnType<NonNullable<SchemaController['bucket']>>

/**
 * The named schemas of a context. Fastify's own bucket copies all of them for each context and each compiler; this one
 * does when a context adds one.
 */
function bucket (inherited?: unknown): Bucket {
  let schemas = (inherited ?? {}) as Record<string, unknown>
  let isShared = inherited !== undefined
  return {
    add (schema) {
      const { $id: id } = schema as { $id?: string }
      if (id === undefined || id in schemas) throw new Error(id === undefined ? 'A schema has no $id.' : `There are two schemas ${id}.`)
      if (isShared) schemas = { ...schemas }
      isShared = false
      schemas[id] = schema
    },
    getSchema: id => schemas[id],
    getSchemas () {
      isShared = true
      return schemas
    }
  } as Bucket
}

export const schemaController: SchemaController = {
  bucket, compilersFactory: { buildValidator, buildSerializer }
}
