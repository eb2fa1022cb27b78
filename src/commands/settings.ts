import { join } from 'node:path'
import { readEnvironment, readEnvironmentFile, type Environment } from '../config/environment.ts'
import { parseSettings } from '../config/parse.ts'
import type { Config } from '../config/settings.ts'
import { sourcesOf, type SettingSources } from '../config/sources.ts'

/** Flags that stand for settings. */
export interface SettingFlags {
  readonly 'a1111-url'?: string
  readonly host?: string
  readonly port?: string
}

export const settingFlags = {
  'a1111-url': { type: 'string' }, host: { type: 'string' }, port: { type: 'string' }
} as const

/** Settings of environment and `.env`, with the command line above both. @throws SettingsError */
export function readSettings (flags: SettingFlags = {}): Config {
  return parseSettings({ ...readEnvironment(process.cwd()), ...settingsOf(flags) })
}

/** Where each of these settings comes from. */
export function readSources (flags: SettingFlags = {}): SettingSources {
  const file = Object.entries(readEnvironmentFile(join(process.cwd(), '.env')))
  return sourcesOf({
    'command line': settingsOf(flags),
    environment: process.env,
    // An empty variable of the environment hides what the file says.
    file: Object.fromEntries(file.filter(([name]) => process.env[name] === undefined))
  })
}

function settingsOf (flags: SettingFlags): Environment {
  const given = { A1111_URL: flags['a1111-url'], HOST: flags.host, PORT: flags.port }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
}
