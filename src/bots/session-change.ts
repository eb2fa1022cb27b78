import { Type } from '@sinclair/typebox'
import { BotControlNetUnit } from '../../schemas/bots-generation.ts'
import { PresetInput, SessionChange, SessionLora } from '../../schemas/bots-settings.ts'
import { Inline } from '../../schemas/kit.ts'
import { invalidField, isRecord } from '../a1111/field-values.ts'
import { bareName } from '../a1111/names.ts'
import { settingName } from './merge-defaults.ts'
import type { NewPreset, Presets } from './presets.ts'
import { type Location, readFields } from './read-fields.ts'
import { knownFields, requestFields } from './request.ts'
import type { Session, Sessions } from './sessions.ts'
import type { BotUser } from './user-scope.ts'

type Fields = Readonly<Record<string, unknown>>

const Units = Type.Object({ controlnet_configs: Type.Array(Inline(BotControlNetUnit)) })

/**
 * Checks a user's settings as a generation will check them, so that a client learns of a mistake when it stores it.
 * Units and settings stay as they were sent, including unknown names.
 * @param place their path in the request
 * @throws ValidationFailure or ServiceError naming the field
 */
export function readSessionChange (source: unknown, place: Location = ['body']): SessionChange {
  const change = readFields(SessionChange, source, place)
  for (const filename of Object.keys(change.active_loras ?? {})) {
    checkLoraName(filename, [...place.slice(1), 'active_loras'].join('.'))
  }
  if (change.controlnet_configs !== undefined) readFields(Units, change, place)
  if (change.custom_settings !== undefined) {
    readFields(settingsSchema(change.custom_settings), withoutNulls(change), place)
  }
  return change
}

/** @throws ValidationFailure or ServiceError naming the field */
export function readSessionLora (source: unknown): SessionLora {
  const lora = readFields(SessionLora, source)
  checkLoraName(lora.filename, 'filename')
  return lora
}

/** Its use shows whether the server has it; in a prompt it must be one name. */
function checkLoraName (filename: string, field: string): void {
  if (bareName(filename) !== '' && !/[:<>]/.test(bareName(filename))) return
  throw invalidField(field, `"${filename.slice(0, 200)}" is no name of a LoRA; it must be there, without the signs : < >.`)
}

function settingsSchema (settings: Fields) {
  const fields = Object.keys(settings).flatMap(given => {
    const field = requestFields[settingName(given, knownFields) ?? '']
    return field === undefined || settings[given] === null ? [] : [[given, field]]
  })
  return Type.Object({ custom_settings: Type.Object(Object.fromEntries(fields) as typeof requestFields) })
}

/** A setting that is null is ignored. */
function withoutNulls (change: SessionChange): Fields {
  const settings = isRecord(change.custom_settings) ? change.custom_settings : {}
  return { custom_settings: Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== null)) }
}

/**
 * Imports an export, also one of the first server of this kind, where presets can be listed by id. Reads everything
 * before it changes anything.
 * @throws ValidationFailure or ServiceError naming the field
 */
export async function importUser (
  user: BotUser, { session, presets: given }: { readonly session: Fields, readonly presets: unknown },
  { sessions, presets }: { readonly sessions: Sessions, readonly presets: Presets }
): Promise<{ session: Session, presetIds: string[] }> {
  const change = readSessionChange(withoutNullFields(session), ['body', 'session'])
  const list = Array.isArray(given) ? [...given.entries()] : Object.entries(isRecord(given) ? given : {})
  const read = list.map(([place, preset]): NewPreset => readFields(PresetInput, preset, ['body', 'presets', place]))
  const presetIds: string[] = []
  for (const preset of read) presetIds.push((await presets.save(user, preset)).id)
  return { session: await sessions.change(user, change), presetIds }
}

function withoutNullFields (fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null))
}
