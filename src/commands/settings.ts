import { readEnvironment } from '../config/environment.ts'
import { parseSettings } from '../config/parse.ts'
import type { Config } from '../config/settings.ts'

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
  const given = { A1111_URL: flags['a1111-url'], HOST: flags.host, PORT: flags.port }
  const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
  return parseSettings({ ...readEnvironment(process.cwd()), ...set })
}
