import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import type { TSchema } from '@sinclair/typebox'
import { messageOf } from '../lib/errors.ts'
import { allowed, isGiven, SettingsError } from './parse.ts'
import type { RuntimeName, RuntimeState } from './runtime-settings.ts'
import { type Config, type SettingName, Settings } from './settings.ts'

export type Environment = Record<string, string | undefined>

/**
 * The environment of the process over the file `.env` of a folder, if there is one.
 * @throws SettingsError if there is a `.env` that cannot be read
 */
export function readEnvironment (folder: string, given: Environment = process.env): Environment {
  return { ...readEnvironmentFile(join(folder, '.env')), ...given }
}

export function readEnvironmentFile (path: string): Environment {
  try {
    // Windows editors put a mark before the first name.
    return parseEnv(readFileSync(path, 'utf8').replace(/^\uFEFF/, ''))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return {}
    throw new SettingsError(`${path} cannot be read (${messageOf(error)}); mend or remove it`)
  }
}

/** Source of a setting's value; the first one that gives it counts. */
export const settingSources = ['command line', 'environment', 'file', 'default'] as const
type SettingSource = typeof settingSources[number]
export type SettingSources = Readonly<Record<SettingName, SettingSource>>

/** @param layers values by source; empty ones count as missing, as they do when settings are read */
export function sourcesOf (values: Readonly<Partial<Record<SettingSource, Environment>>>): SettingSources {
  const of = (name: string) => settingSources.find(source => isGiven(values[source] ?? {}, name)) ?? 'default'
  return Object.fromEntries(Object.keys(Settings.properties).map(name => [name, of(name)])) as SettingSources
}

/** One setting for people who look after the service: never with a secret. */
export interface DescribedSetting {
  readonly name: SettingName
  /** Null if it is secret. */
  readonly value: unknown
  readonly default: unknown
  readonly source: SettingSource | 'here'
  readonly secrecy: 'shown' | 'secret'
  readonly presence: 'set' | 'empty'
  /** Its name among the values that can be changed while the service runs. */
  readonly runtimeName: RuntimeName | null
  readonly allowed: string
  readonly description: string
}

const runtimeNames: Readonly<Partial<Record<SettingName, RuntimeName>>> = {
  RETENTION_DAYS: 'retentionDays', RETENTION_JOBS: 'retentionJobs'
}

/** The current settings and their sources. */
export function describeSettings (config: Config, sources: SettingSources, runtime: RuntimeState): DescribedSetting[] {
  return (Object.entries(Settings.properties) as Array<[SettingName, TSchema]>).map(([name, schema]) => {
    const runtimeName = runtimeNames[name] ?? null
    const value = runtimeName === null ? config[name] : runtime.values[runtimeName]
    const isSecret = schema.secret === true
    return {
      name,
      value: isSecret ? null : withoutPasswords(value),
      default: isSecret ? null : schema.default as unknown,
      source: runtimeName !== null && runtime.changed.has(runtimeName) ? 'here' : sources[name],
      secrecy: isSecret ? 'secret' : 'shown',
      presence: value === '' || (Array.isArray(value) && value.length === 0) ? 'empty' : 'set',
      runtimeName,
      allowed: allowed(schema),
      description: schema.description ?? ''
    }
  })
}

/** Addresses can carry credentials, also behind an alias as in SERVERS. The text before the last @ can be one. */
function withoutPasswords (value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutPasswords)
  if (typeof value !== 'string') return value
  return value.replace(/^([^:]*:\/\/).*@/s, '$1***@')
}
