import { ErrorBody } from '../../schemas/error.ts'
import { fieldsOf, objectOf, textsOf, type JsonObject } from '../../src/lib/json-values.ts'

/**
 * The routes accept more than one spelling of a field, several types for one value, and forms beside JSON. Generators
 * of clients cannot read such documents: they reject them, drop the operation, or write code that does not compile. So
 * the document declares one spelling, one type and one content type; validation is unchanged.
 */

/** Operations that another one replaces, as templates of their paths. The first group of the new path stays. */
const replacedPaths: ReadonlyArray<readonly [older: RegExp, newer: string, suffix: string]> = [
  [/^\/api\/v1\/generate$/, '/api/v2/generate', 'V1'],
  [/^\/api\/v1\/jobs\b/, '/api/v2/jobs', 'V1'],
  [/^\/api\/v1\/queue\/jobs\b/, '/api/v2/jobs', 'V1Queue'],
  [/^\/api\/v2\/queue\/jobs\b/, '/api/v2/jobs', 'V2Queue'],
  [/^\/api\/v1\/servers(?=\/[^/]+\/check$)/, '/api/v2/servers', 'V1'],
  [/^\/api\/v1\/downloads\/queue\b/, '/api/v1/downloads', 'InQueue'],
  [/^\/api\/v1\/models\/scan\/status$/, '/api/v1/models/scan', ''],
  [/^(\/api\/v2\/jobs\/[^/]+)\/status$/, '$1', ''],
  [/^(\/api\/v2\/jobs\/[^/]+)\/dispatch$/, '$1/run-now', '']
]
/** Two methods of one path that do the same. */
const replacedMethods: Readonly<Record<string, string>> = {
  'PUT /api/v1/servers/{alias}': 'PATCH',
  'PUT /sessions/{user_id}': 'PATCH',
  'PUT /presets/{user_id}/{preset_id}': 'PATCH'
}

interface Route {
  readonly method: string
  /** With parameters in braces. */
  readonly path: string
}

/** The route that replaces this one, and what the id of the older operation ends with; null for none. */
function replacementOf ({ method, path }: Route): { route: Route, suffix: string } | null {
  const instead = replacedMethods[`${method} ${path}`]
  if (instead !== undefined) return { route: { method: instead, path }, suffix: '' }
  const found = replacedPaths.find(([older]) => older.test(path))
  if (found === undefined) return null
  const [older, newer, suffix] = found
  const route = { method, path: path.replace(older, newer) }
  // The newer path can have an older name itself.
  return { route: replacementOf(route)?.route ?? route, suffix }
}

type Where = 'request' | 'answer'
type Node = Record<string, unknown>

/** The name in which generators see no difference between two spellings. */
const plainName = (name: string) => name.toLowerCase().replaceAll(/[^a-z0-9]/g, '')

/**
 * @param callbacks requests of the service that follow an operation, by its id
 * @returns the document that the service serves
 */
export function clientDocument (document: object, callbacks: Readonly<Record<string, object>>): object {
  const { paths, components, ...rest } = document as JsonObject
  const readable = Object.fromEntries(Object.entries(fieldsOf(paths))
    .map(([path, item]) => pathFor(path, fieldsOf(item), callbacks))
    .filter(([, item]) => Object.keys(item).length > 0))
  const schemas = fieldsOf(fieldsOf(components).schemas)
  const operations = Object.values(readable).flatMap(item => Object.values(item)).map(fieldsOf)
  const requested = reachable(operations.map(({ requestBody }) => requestBody ?? null), schemas)
  const answered = reachable([operations.map(({ responses }) => responses), callbacks], schemas)
  const used = Object.entries(schemas).filter(([name]) => requested.has(name) || answered.has(name))
  return {
    ...rest,
    paths: readable,
    components: {
      ...fieldsOf(components),
      schemas: Object.fromEntries(used.map(([name, schema]) =>
        [name, schemaFor(schema, requested.has(name) ? 'request' : 'answer')]))
    }
  }
}

/** Names of the schemas that a part of the document refers to, also through others. */
function reachable (part: unknown, schemas: JsonObject, found = new Set<string>()): Set<string> {
  for (const [, name = ''] of JSON.stringify(part).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
    if (found.has(name)) continue
    found.add(name)
    reachable(schemas[name], schemas, found)
  }
  return found
}

/** How the router answers a value in the path that is longer than any name can be. */
const tooLong = {
  414: {
    description: 'The address is too long.',
    content: { 'application/json': { schema: { $ref: `#/components/schemas/${ErrorBody.$id}` } } }
  }
}

function pathFor (
  path: string, item: JsonObject, callbacks: Readonly<Record<string, object>>
): readonly [path: string, item: Node] {
  const template = path.replace('{*}', '{name}')
  const operations = Object.entries(item).flatMap(([method, operation]) => {
    const { parameters = [], requestBody, responses, ...rest } = fieldsOf(operation)
    const answers = fieldsOf(responses)
    // No client that is generated can open a WebSocket.
    if ('101' in answers) return []
    const replacement = replacementOf({ method: method.toUpperCase(), path: template })
    const callback = replacement === null ? callbacks[String(rest.operationId)] : undefined
    return [[method, {
      ...rest,
      ...replaced(rest, replacement),
      ...parametersFor(parameters as readonly JsonObject[]),
      ...(requestBody === undefined ? {} : { requestBody: bodyFor(fieldsOf(requestBody)) }),
      responses: {
        ...mapped(answers, answer => answerFor(fieldsOf(answer))), ...(path.includes('{') ? tooLong : {})
      },
      ...(callback === undefined ? {} : { callbacks: callback })
    }]]
  })
  return [template, Object.fromEntries(operations) as Node]
}

function mapped (object: JsonObject, change: (value: unknown) => unknown): Node {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, change(value)]))
}

function replaced ({ operationId, description }: JsonObject, replacement: ReturnType<typeof replacementOf>): Node {
  if (replacement === null) return {}
  const { route: { method, path }, suffix } = replacement
  return {
    operationId: `${String(operationId)}${suffix}`,
    deprecated: true,
    description: `Use \`${method} ${path}\` instead.${description === undefined ? '' : ` ${String(description)}`}`
  }
}

/** Without headers whose name differs from that of a query parameter only in its spelling. */
function parametersFor (parameters: readonly JsonObject[]): Node {
  if (parameters.length === 0) return {}
  const nameOf = ({ name }: JsonObject) => plainName(String(name))
  const inQuery = new Set(parameters.filter(parameter => parameter.in === 'query').map(nameOf))
  const distinct = parameters.filter(parameter => parameter.in !== 'header' || !inQuery.has(nameOf(parameter)))
  return {
    parameters: distinct.map(({ name, schema, ...parameter }) =>
      ({ ...parameter, name: name === '*' ? 'name' : name, schema: { ...defaultOf(schema), ...schemaFor(schema, 'request') } }))
  }
}

/** Parameters keep theirs: no generator makes a parameter required for it. */
const defaultOf = (schema: unknown): Node => 'default' in fieldsOf(schema) ? { default: fieldsOf(schema).default } : {}

/** JSON where there is a choice. */
function bodyFor ({ content, ...body }: JsonObject): Node {
  const types = Object.entries(fieldsOf(content))
  const [type = '', media = {}] = types.find(([name]) => name === 'application/json') ?? types[0] ?? []
  const { schema, ...others } = fieldsOf(media)
  const note = types.length < 2
    ? {}
    : {
        description: 'Also accepted as multipart/form-data with the same fields: objects as JSON text, images as files.'
      }
  return { ...body, ...note, content: { [type]: { ...others, schema: schemaFor(schema, 'request') } } }
}

function answerFor ({ content, ...answer }: JsonObject): Node {
  const types = Object.entries(fieldsOf(content)).map(([type, media]) => {
    const { schema, ...others } = fieldsOf(media)
    // The value null has no type in most languages.
    const one = isNull(schema) ? { description: 'null' } : schemaFor(schema, 'answer')
    const readable = type === 'text/event-stream' ? { anyOf: [wholeStream, one] } : one
    return [type, schema === undefined ? others : { ...others, schema: readable }] as const
  })
  if (types.length === 0) return answer
  const isBinary = types.every(([type]) => /^(?:image|video|application\/zip)\b/.test(type))
  return { ...answer, content: { ...Object.fromEntries(types), ...(isBinary ? anyBytes : {}) } }
}

/** For generators that do not know streams: they read the answer as one text. Others read events of the second type. */
const wholeStream = { type: 'string', description: 'The stream as text.' }

/** For generators that do not know the types of images: they read bytes. */
const anyBytes = { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } }

const isNull = (schema: unknown) => {
  const { type, enum: values } = fieldsOf(schema)
  return type === 'null' || (Array.isArray(values) && values.every(value => value === null))
}

function schemaFor (schema: unknown, where: Where): Node {
  const {
    default: preset, properties, required, needs, items, additionalProperties: more, anyOf, enum: values, type,
    examples, ...others
  } = fieldsOf(schema)
  const choice = Array.isArray(anyOf) ? choiceFor(anyOf, where) : {}
  const declared = { ...typeFor(type, where), ...choice }
  const plain: Node = {
    ...others,
    ...examplesFor(examples, declared.type),
    ...typeFor(type, where),
    ...(values === undefined ? widthFor(type, others) : {}),
    ...valuesFor(values, type),
    ...(objectOf(items) === null ? {} : { items: schemaFor(items, where) }),
    ...(more === undefined ? {} : { additionalProperties: objectOf(more) === null ? more : schemaFor(more, where) }),
    ...(properties === undefined ? {} : propertiesFor(fieldsOf(properties), textsOf(required), where)),
    ...choice
  }
  if (Array.isArray(others.allOf)) plain.allOf = others.allOf.map(one => schemaFor(one, where))
  const choices = Array.isArray(needs) ? needs.map(names => spelled(textsOf(names), plain)) : []
  return withDefault(withNeeds(plain, choices), preset)
}

/** The names that the document has for these fields. */
function spelled (names: readonly string[], { properties }: Node): string[] {
  const declared = Object.keys(fieldsOf(properties))
  return names.map(name => declared.find(other => plainName(other) === plainName(name)) ?? name)
}

/**
 * Demands what `needing` in schemas/kit.ts says. Of `anyOf` beside properties some generators make a union, which loses
 * the properties; they pass over `if`, which validators know.
 */
function withNeeds (schema: Node, choices: ReadonlyArray<readonly string[]>): Node {
  const last = choices.at(-1)
  if (last === undefined) return schema
  const others = choices.slice(0, -1).map(required => ({ required }))
  if (others.length === 0) return { ...schema, required: [...new Set([...textsOf(schema.required), ...last])] }
  const named = choices.map(names => names.map(name => `\`${name}\``).join(' and ')).join(', or ')
  return {
    ...schema,
    description: `${schema.description === undefined ? '' : `${String(schema.description)} `}Needs ${named}.`,
    if: { not: others.length === 1 ? others[0] : { anyOf: others } },
    then: { required: last }
  }
}

/**
 * openapi-generator reads an integer without a format, or of one that it does not know, into 32 bits in Go, and fails
 * for half of all seeds, and for files of more than 2 GB.
 */
function widthFor (type: unknown, { maximum, format, const: only }: JsonObject): Node {
  if (![type].flat().includes('integer') || only !== undefined) return {}
  const isWide = format === 'uint64' || typeof maximum !== 'number' || maximum >= 2 ** 31
  return isWide ? { format: 'int64' } : {}
}

/** Examples of the declared type: others are accepted, but do not fit the document. */
function examplesFor (examples: unknown, type: unknown): Node {
  if (!Array.isArray(examples)) return {}
  const types = new Set([type].flat())
  const fitting = examples.filter(example => type === undefined || types.has(jsonType(example)) ||
    (types.has('integer') && Number.isInteger(example)))
  return fitting.length === 0 ? {} : { examples: fitting }
}

function jsonType (value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'array' : typeof value
}

/** Some generators require what has a default: they see it in the description. */
function withDefault (schema: Node, preset: unknown): Node {
  const { description } = schema
  if (preset === undefined || preset === null || preset === '' || '$ref' in schema) return schema
  const note = `Default: ${JSON.stringify(preset)}.`
  return { ...schema, description: description === undefined ? note : `${String(description)} ${note}` }
}

/** Requests declare the type that clients should send; others that mean the same are accepted. */
function typeFor (type: unknown, where: Where): Node {
  if (type === undefined) return {}
  // A property that is always null has no type in most languages.
  if (type === 'null') return { type: ['string', 'null'] }
  if (!Array.isArray(type)) return { type }
  const [first, ...more] = type.filter(name => name !== 'null')
  if (where === 'answer' && more.length > 0) return {}
  return { type: type.includes('null') ? [first, 'null'] : first }
}

function valuesFor (values: unknown, type: unknown): Node {
  if (!Array.isArray(values) || type === 'boolean') return {}
  const lower = new Set(values.filter(value => typeof value === 'string' && value === value.toLowerCase()))
  return {
    enum: values.filter(value => typeof value !== 'string' || lower.has(value) || !lower.has(value.toLowerCase()))
  }
}

function propertiesFor (properties: JsonObject, required: readonly string[], where: Where): Node {
  const spellings = new Map<string, string[]>()
  for (const name of Object.keys(properties)) {
    spellings.set(plainName(name), [...spellings.get(plainName(name)) ?? [], name])
  }
  const kept = Object.entries(properties).flatMap(([name, schema]) => {
    const others = (spellings.get(plainName(name)) ?? []).filter(other => other !== name)
    const isChosen = others.length === 0 || name === chosen([name, ...others])
    return isChosen ? [[name, described(schemaFor(schema, where), others, where)] as const] : []
  })
  const names = new Set(kept.map(([name]) => name))
  const needed = required.filter(name => names.has(name))
  return { properties: Object.fromEntries(kept), ...(needed.length === 0 ? {} : { required: needed }) }
}

/** Snake case, as most fields of these interfaces have it. */
function chosen (names: readonly string[]): string {
  const sorted = names.toSorted()
  return sorted.find(name => /[^_]_/.test(name)) ?? sorted[0] ?? ''
}

function described (schema: Node, others: readonly string[], where: Where): Node {
  const { description } = schema
  if (others.length === 0 || '$ref' in schema) return schema
  const note = `${where === 'request' ? 'Also accepted as' : 'Also sent as'} ${others.map(name => `\`${name}\``).join(', ')}.`
  return { ...schema, description: description === undefined ? note : `${String(description)} ${note}` }
}

/** Which of several types of a value clients should send: the one that says most. */
const byWorth = ['object', 'array', 'boolean', 'integer', 'number', 'string']
const worthOf = (schema: JsonObject) => '$ref' in schema ? -1 : byWorth.indexOf(String([schema.type].flat()[0]))

function choiceFor (branches: readonly unknown[], where: Where): Node {
  const all = branches.map(branch => fieldsOf(branch))
  const isNullable = all.some(isNull)
  const some = all.filter(branch => !isNull(branch) && Object.keys(branch).some(name => name !== 'description'))
    .toSorted((one, other) => worthOf(one) - worthOf(other))
  const [first] = some
  if (first === undefined) return {}
  const areSimple = some.every(branch => ['string', 'number', 'integer', 'boolean'].includes(String(branch.type)))
  if (some.length > 1 && where === 'answer') {
    return areSimple ? {} : { anyOf: all.map(branch => schemaFor(branch, where)) }
  }
  const only = schemaFor(first, where)
  if (!isNullable) return only
  if (typeof only.type !== 'string') return { anyOf: [only, { type: 'null' }] }
  return { ...only, type: [only.type, 'null'], ...(Array.isArray(only.enum) ? { enum: [...only.enum, null] } : {}) }
}
