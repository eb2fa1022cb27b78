import type { TObject, TSchema } from '@sinclair/typebox'
import type { Warning } from '../../schemas/generation-parameters.ts'
import {
  StudioControlNetRequest, StudioFaceRestoreRequest, StudioImg2imgRequest, StudioInpaintRequest,
  StudioOutpaintRequest, StudioRegionalRequest, StudioTxt2imgRequest, StudioUpscaleRequest, strict
} from '../../schemas/studio-generation.ts'
import { WithDefaults } from '../../schemas/kit.ts'
import { webhookFields } from '../../schemas/webhook.ts'
import { warningsOfUnknown } from '../a1111/unknown-fields.ts'
import type { FreshLists } from '../servers/fresh-lists.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import type { KeptImages } from './kept-images.ts'
import { asDefaults, laidOver, type StoredDefaults } from './layers.ts'
import type { WeightedLora } from './lora-prompt.ts'
import { studioUser, type StudioUser } from './owner.ts'
import { says, type Said } from './parameters.ts'
import type { Presets } from './presets.ts'
import { readFields, refuse, unknownFields } from './read-fields.ts'
import { lorasOf } from './request-loras.ts'
import type { Session, Sessions } from './sessions.ts'

export const requestSchemas = {
  txt2img: StudioTxt2imgRequest,
  img2img: StudioImg2imgRequest,
  inpaint: StudioInpaintRequest,
  outpaint: StudioOutpaintRequest,
  controlnet: StudioControlNetRequest,
  regional: StudioRegionalRequest,
  upscale: StudioUpscaleRequest,
  'face-restore': StudioFaceRestoreRequest
} satisfies Record<string, TObject>
export type GenerationKind = keyof typeof requestSchemas

const Strict = WithDefaults({ strict })

/** Every field of any request by its name, as the first kind has it that knows it. */
export const requestFields: Readonly<Record<string, TSchema>> = Object.fromEntries(
  Object.values(requestSchemas).toReversed().flatMap(({ properties }) => Object.entries(properties)))

/**
 * Every field of any request, so that what a user stores for one kind is no mistake for another. Not those of webhooks:
 * where events go is said by each request, or by its access key.
 */
export const knownFields: ReadonlySet<string> = new Set(
  Object.keys(requestFields).filter(name => !Object.hasOwn(webhookFields, name) && name !== 'strict'))

/** A request as it came, its form read, and who sends it. */
export interface StudioCall {
  readonly fields: Readonly<Record<string, unknown>>
  /** Id of the access key. */
  readonly keyId: string | null
  /** Address under which the caller reached us. */
  readonly baseUrl: string
}

/** A request with everything that is stored for its user laid beneath it. */
export interface CompleteRequest {
  /** Id of the access key. */
  readonly keyId: string | null
  readonly user: StudioUser
  readonly said: Said
  /** Of request and session, without those that only the session names and no server has. */
  readonly loras: readonly WeightedLora[]
  readonly warnings: readonly Warning[]
}

export interface RequestSources {
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
  readonly lists: Pick<FreshLists, 'readAgain'>
  readonly sessions: Sessions
  readonly presets: Presets
  readonly keptImages: KeptImages
}

/**
 * Lays preset and session beneath what a client said.
 * @throws ValidationFailure for a user that cannot be told, ServiceError `preset_not_found`
 */
export async function completeRequest (
  kind: GenerationKind, { fields, keyId }: StudioCall, sources: RequestSources
): Promise<CompleteRequest> {
  const user = studioUser({ keyId }, userIdOf(kind, fields))
  const unknown = unknownFields(requestSchemas[kind], fields)
  if (readFields(Strict, fields).strict) refuse(unknown)
  const session = await sources.sessions.read(user)
  const stored = asDefaults(session.settings, knownFields)
  const preset = asDefaults(await presetOf(user, fields, sources), knownFields)
  const laid = laidOver(fields, preset.fields, stored.fields)
  const units = await sessionUnits(session, laid, sources)
  const loraSources = { registry: sources.registry, states: sources.states, readAgain: sources.lists.readAgain }
  const { loras, warnings } = await lorasOf(laid, session.loras, loraSources)
  return {
    keyId,
    user,
    said: { ...laid, ...units.said },
    loras,
    warnings: [
      ...warningsOfUnknown(unknown),
      ...unknownSettings(stored.unknown),
      ...unusedOfPreset(kind, preset), ...units.warnings, ...warnings
    ]
  }
}

/** @throws ValidationFailure with everything else that is wrong beside it */
function userIdOf (kind: GenerationKind, fields: StudioCall['fields']): string {
  const { user_id: id } = fields
  return typeof id === 'string' && id.length <= 200 && id !== '' ? id : readFields(requestSchemas[kind], fields).user_id
}

async function presetOf (user: StudioUser, { preset_id: reference }: StudioCall['fields'], sources: RequestSources) {
  if (typeof reference !== 'string' || reference === '') return {}
  const { config } = await sources.presets.use(user, reference)
  return await sources.keptImages.show(config)
}

/** The session's ControlNet units where the request brings none: those that have a picture, or get the request's. */
async function sessionUnits (session: Session, laid: Said, { keptImages }: RequestSources) {
  if (says(laid, 'controlnet_units') || session.units.length === 0) return { said: {}, warnings: [] }
  const { units } = await keptImages.show({ units: session.units }) as { units: ReadonlyArray<Said> }
  const usable = units.filter(unit => says(unit, 'image') || says(laid, 'image'))
  const warnings = usable.length === units.length
    ? []
    : [{ code: 'session_controlnet_left_out', message: 'ControlNet units of the session without a picture of their own need one in the request.', field: 'controlnet_units' }]
  return { said: { controlnet_units: usable }, warnings }
}

function unknownSettings (names: readonly string[]): Warning[] {
  if (names.length === 0) return []
  const message = `These custom settings mean nothing to a generation: ${names.slice(0, 20).join(', ')}.`
  return [{ code: 'unknown_settings_ignored', message, field: 'custom_settings' }]
}

/** A workflow that was saved for another kind of request than it is used for. */
function unusedOfPreset (kind: GenerationKind, { fields, unknown }: StoredDefaults): Warning[] {
  const unused = Object.keys(fields).filter(name => !Object.hasOwn(requestSchemas[kind].properties, name))
  const names = [...unused, ...unknown].slice(0, 20)
  if (names.length === 0) return []
  const message = `The preset has fields that /generate/${kind} does not know: ${names.join(', ')}.`
  return [{ code: 'preset_fields_ignored', message, field: 'preset_id' }]
}
