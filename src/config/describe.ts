import type { TSchema } from '@sinclair/typebox'
import { allowed } from './parse.ts'
import type { RuntimeName, RuntimeState } from './runtime-settings.ts'
import { Settings, type Config, type SettingName } from './settings.ts'
import type { SettingSource, SettingSources } from './sources.ts'

/** One setting for people who look after the service: never with a secret. */
export interface DescribedSetting {
  readonly name: SettingName
  /** Null where it is secret. */
  readonly value: unknown
  readonly default: unknown
  readonly source: SettingSource | 'here'
  readonly secrecy: 'shown' | 'secret'
  readonly presence: 'set' | 'empty'
  /** What it is called among the values that can be changed while the service runs. */
  readonly runtimeName: RuntimeName | null
  readonly allowed: string
  readonly description: string
}

const runtimeNames: Readonly<Partial<Record<SettingName, RuntimeName>>> = {
  RETENTION_DAYS: 'retentionDays', RETENTION_JOBS: 'retentionJobs'
}

/** What is in force and where it comes from. */
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

/** Addresses may carry credentials, also behind an alias as in SERVERS. What stands before the last @ may be one. */
function withoutPasswords (value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutPasswords)
  if (typeof value !== 'string') return value
  return value.replace(/^([^:]*:\/\/).*@/s, '$1***@')
}
