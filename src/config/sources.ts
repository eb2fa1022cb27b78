import type { Environment } from './environment.ts'
import { isGiven } from './parse.ts'
import { Settings, type SettingName } from './settings.ts'

/** Where a value of a setting comes from; the first one that gives it counts. */
export const settingSources = ['command line', 'environment', 'file', 'default'] as const
export type SettingSource = typeof settingSources[number]
export type SettingSources = Readonly<Record<SettingName, SettingSource>>

/** @param layers what each place gives, empty values counting as none, as they do when settings are read */
export function sourcesOf (layers: Readonly<Partial<Record<SettingSource, Environment>>>): SettingSources {
  const of = (name: string) => settingSources.find(source => isGiven(layers[source] ?? {}, name)) ?? 'default'
  return Object.fromEntries(Object.keys(Settings.properties).map(name => [name, of(name)])) as SettingSources
}
