import type { TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { parseAllowed } from '../egress/rules.ts'
import { messageOf } from '../lib/errors.ts'
import { isNetwork } from '../lib/ip.ts'
import { checkOpenRoute } from './open-routes.ts'
import { parseSchedule } from '../lib/retry-schedule.ts'
import { Settings, type Config } from './settings.ts'

/** Older or foreign names of settings and their present names. */
const alternativeNames: Readonly<Record<string, string>> = {
  AUTOMATIC1111_API_BASE: 'A1111_URL',
  MODEL_PATH: 'MODELS_DIR',
  CHECKPOINT_PATH: 'CHECKPOINT_DIR',
  LORA_PATH: 'LORA_DIR',
  DONBOORU_AUTOTAG_ENDPOINT: 'TAGGER_URL',
  FLORENCE_API_BASE: 'FLORENCE_URL'
}

/** An invalid setting: its message names the setting, its value and the allowed values, one line each. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError'
}

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Turns environment variables into the typed, frozen configuration.
 * @throws SettingsError naming every wrong setting at once
 */
export function parseSettings (environment: Environment): Config {
  const problems: string[] = []
  const config: Record<string, unknown> = {}
  for (const [name, schema] of Object.entries(Settings.properties)) {
    const given = givenValue(environment, name)
    const value = given === undefined ? structuredClone(schema.default) : convert(schema, given)
    if (fits(schema, value)) config[name] = value
    else problems.push(`${name} is ${shown(schema, given ?? '')}, but must be ${allowed(schema)}`)
  }
  if (problems.length === 0) problems.push(...contradictions(config as Config))
  if (problems.length > 0) throw new SettingsError(problems.join('\n'))
  return Object.freeze(config as Config)
}

/** Whether an environment gives a setting a value, under any of its names. */
export function isGiven (environment: Environment, name: string): boolean {
  return givenValue(environment, name) !== undefined
}

function givenValue (environment: Environment, name: string): string | undefined {
  const alternative = Object.keys(alternativeNames).find(other => alternativeNames[other] === name)
  for (const candidate of [name, alternative]) {
    const value = candidate === undefined ? undefined : environment[candidate]?.trim()
    if (value) return value
  }
  return undefined
}

const switchWords: Readonly<Record<string, boolean>> = {
  true: true, 1: true, on: true, yes: true, false: false, 0: false, off: false, no: false
}

/** The typed value of a setting's text; an inconvertible text stays text and then fails its check. */
function convert (schema: TSchema, given: string): unknown {
  if (schema.type === 'integer' || schema.type === 'number') return Number(given)
  const isOn = switchWords[given.toLowerCase()]
  if (schema.type === 'boolean') return isOn ?? given
  // A switch with a later third choice keeps its earlier words.
  if (schema.enum && isOn !== undefined) return isOn ? 'on' : 'off'
  if (schema.type === 'array') return given.split(',').map(part => part.trim()).filter(part => part !== '')
  return given
}

/** TypeBox does not check the plain `enum` of a choice. */
function fits (schema: TSchema, value: unknown): boolean {
  return schema.enum ? (schema.enum as unknown[]).includes(value) : Value.Check(schema, value)
}

/** The given value, without anything that can be a password. */
function shown (schema: TSchema, given: string): string {
  return schema.secret ? '(hidden)' : JSON.stringify(given.replace(/^.*@/s, '***@'))
}

/** The accepted values, in words. */
export function allowed (schema: TSchema): string {
  if (schema.enum) return (schema.enum as string[]).join(', ').replace(/, ([^,]*)$/, ' or $1')
  if (schema.type === 'integer') return `a whole number from ${schema.minimum} to ${schema.maximum}`
  if (schema.type === 'number') return `a number from ${schema.minimum} to ${schema.maximum}`
  if (schema.type === 'boolean') return 'true or false'
  if (schema.type === 'array') return 'a comma-separated list'
  if (!schema.examples) return 'text'
  const examples = (schema.examples as string[]).join(' or ')
  return schema.default === '' ? `empty or like ${examples}` : `text like ${examples}`
}

function contradictions (config: Config): string[] {
  const problems: string[] = []
  if (config.UI_AUTH === 'none' && config.UI_TRUSTED_CIDRS.length === 0) {
    problems.push('UI_AUTH is "none", but then UI_TRUSTED_CIDRS must name the networks to trust, for example 172.16.0.0/12')
  }
  if (config.AUTH_TOKEN !== '' && config.AUTH_TOKEN.length < 16) {
    problems.push('AUTH_TOKEN is (hidden), but must have at least 16 characters')
  }
  for (const origin of config.CORS_ORIGINS) {
    if (!URL.canParse(origin) || new URL(origin).origin !== origin) {
      problems.push(`CORS_ORIGINS has ${JSON.stringify(origin)}, but each must be an exact origin such as http://localhost:7860`)
    }
  }
  for (const name of ['UI_TRUSTED_CIDRS', 'TRUSTED_PROXIES'] as const) {
    const wrong = config[name].filter(network => !isNetwork(network))
    problems.push(...wrong.map(network => `${name} has ${JSON.stringify(network)}, but each must be like 172.16.0.0/12`))
  }
  problems.push(...config.EGRESS_ALLOW.flatMap(entry => refusals('EGRESS_ALLOW', entry, () => parseAllowed(entry))))
  problems.push(...config.SERVERS_ALLOW.flatMap(entry => refusals('SERVERS_ALLOW', entry, () => parseAllowed(entry))))
  problems.push(...config.SDAPI_OPEN_ROUTES.flatMap(entry =>
    refusals('SDAPI_OPEN_ROUTES', entry, () => { checkOpenRoute(entry) })))
  const schedule = config.WEBHOOK_RETRY_SCHEDULE
  problems.push(...refusals('WEBHOOK_RETRY_SCHEDULE', schedule, () => parseSchedule(schedule)))
  problems.push(...wrongServers(config.SERVERS))
  problems.push(...wrongBucket(config))
  return problems
}

/** Settings of a bucket without the others that they need. */
function wrongBucket (config: Config): string[] {
  if (config.MEDIA_URL !== '') {
    return (['S3_ACCESS_KEY_ID', 'S3_SECRET_ACCESS_KEY'] as const).filter(name => config[name] === '')
      .map(name => `${name} is empty, but MEDIA_URL needs both S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY`)
  }
  const names = [
    'MEDIA_REDIRECT', 'S3_ENDPOINT', 'S3_REGION', 'S3_ACCESS_KEY_ID', 'S3_SECRET_ACCESS_KEY', 'S3_PATH_STYLE'
  ] as const
  return names.filter(name => config[name] !== Settings.properties[name].default)
    .map(name => `${name} is set, but without MEDIA_URL no bucket is used; set MEDIA_URL to one, such as s3://bucket/prefix`)
}

/** The objection of the parser of a text. */
function refusals (name: string, text: string, read: () => unknown): string[] {
  try {
    read()
    return []
  } catch (error) {
    return [`${name} has ${JSON.stringify(text)}, but it ${messageOf(error)}`]
  }
}

/** A wrong entry is named but not shown: it can hold a password anywhere, for example one with a comma. */
function wrongServers (entries: readonly string[]): string[] {
  const aliases = entries.map(entry => entry.slice(0, Math.max(0, entry.indexOf('='))).trim())
  return entries.flatMap((entry, index) => {
    const alias = aliases[index] ?? ''
    const url = entry.slice(entry.indexOf('=') + 1)
    const name = alias === '' ? `entry ${index + 1}` : JSON.stringify(alias)
    if (alias === '' || !/^https?:\/\/./.test(url) || !URL.canParse(url)) {
      return [`SERVERS has ${name} with a wrong address (hidden), but each must be alias=http://host:port`]
    }
    return aliases.indexOf(alias) < index ? [`SERVERS has ${name} twice, but each alias must be another`] : []
  })
}
