import { PresetInput } from '../../schemas/studio-preset.ts'
import { isRecord } from '../a1111/field-values.ts'
import type { StudioUser } from './owner.ts'
import type { NewPreset, Presets } from './presets.ts'
import { readFields } from './read-fields.ts'
import { readSessionChange } from './session-change.ts'
import type { Session, Sessions } from './sessions.ts'

type Fields = Readonly<Record<string, unknown>>

/**
 * Takes over what an export holds, also one that the first server of this kind wrote, where presets may stand by their
 * ids. Everything is read before anything is changed.
 * @throws ValidationFailure or ServiceError naming the field
 */
export async function importUser (
  user: StudioUser, { session, presets: given }: { readonly session: Fields, readonly presets: unknown },
  { sessions, presets }: { readonly sessions: Sessions, readonly presets: Presets }
): Promise<{ session: Session, presetIds: string[] }> {
  const change = readSessionChange(withoutNulls(session), ['body', 'session'])
  const list = Array.isArray(given) ? [...given.entries()] : Object.entries(isRecord(given) ? given : {})
  const read = list.map(([place, preset]): NewPreset => readFields(PresetInput, preset, ['body', 'presets', place]))
  const presetIds: string[] = []
  for (const preset of read) presetIds.push((await presets.save(user, preset)).id)
  return { session: await sessions.change(user, change), presetIds }
}

function withoutNulls (fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null))
}
