import type { TObject, TSchema } from '@sinclair/typebox'
import {
  strict, BotControlNetRequest, BotFaceRestoreRequest, BotImg2imgRequest, BotInpaintRequest,
  BotOutpaintRequest, BotRegionalRequest, BotTxt2imgRequest, BotUpscaleRequest
} from '../../schemas/bots-generation.ts'
import type { Warning } from '../../schemas/generation-parameters.ts'
import { WithDefaults } from '../../schemas/kit.ts'
import { webhookFields } from '../../schemas/webhook.ts'
import { readLoras } from '../a1111/lora-tags.ts'
import { findLora, nearest } from '../a1111/names.ts'
import { warningsOfUnknown } from '../a1111/unknown-fields.ts'
import { ServiceError } from '../lib/errors.ts'
import { inventoriesOf } from '../models/servers.ts'
import type { FreshLists } from '../servers/fresh-lists.ts'
import type { Server, ServerRegistry } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import type { RequestContext } from '../telemetry/tracing.ts'
import { asDefaults, mergeDefaults, type StoredDefaults } from './merge-defaults.ts'
import { mergedLoras, type Said, says, type WeightedLora } from './parameters.ts'
import type { KeptImages } from './images.ts'
import type { Presets } from './presets.ts'
import { readFields, refuse, unknownFields } from './read-fields.ts'
import type { Session, Sessions } from './sessions.ts'
import { botUser, type BotUser } from './user-scope.ts'

export interface RequestLoras {
  readonly loras: readonly WeightedLora[]
  readonly warnings: readonly Warning[]
}

/**
 * The LoRAs of a request beside its prompt: its own, and those of its user's session that a server has. A remembered
 * LoRA that no server has must not stop the generation.
 * @throws ServiceError `invalid_field_value`, or `model_not_found` with the nearest names for one of the request's own
 */
async function lorasOf (
  said: Said, remembered: readonly WeightedLora[], sources: LoraSources
): Promise<RequestLoras> {
  const own = readLoras('loras', said.loras).map(({ name, weight }): WeightedLora => [name, weight])
  const target = says(said, 'server') ? String(said.server) : ''
  const before = await knownLoras(target, sources)
  const isComplete = own.every(([filename]) => before.isKnown(filename))
  if (!isComplete) await Promise.all(before.servers.map(async server => await sources.readAgain(server, ['loras'])))
  const { isKnown, names, whoLacks } = isComplete ? before : await knownLoras(target, sources)
  const missing = own.find(([filename]) => !isKnown(filename))
  if (missing !== undefined) {
    const near = nearest(missing[0], names)
    const advice = near.length === 0 ? '' : ` Nearest: ${near.join(', ')}.`
    throw new ServiceError('model_not_found', `${whoLacks} LoRA "${missing[0].slice(0, 200)}".${advice}`, { field: 'loras', nearest: near })
  }
  return {
    loras: mergedLoras(own, remembered.filter(([filename]) => isKnown(filename))),
    warnings: remembered.filter(([filename]) => !isKnown(filename)).map(([filename]) => ({
      code: 'session_lora_left_out',
      message: `${whoLacks} LoRA ${filename}, so that of the session was left out.`,
      field: 'loras'
    }))
  }
}

/** A recently added LoRA is looked up once more. */
export interface LoraSources extends Pick<FreshLists, 'readAgain'> {
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
}

interface KnownLoras {
  /** Servers that can run it. */
  readonly servers: readonly Server[]
  /** Whether a server that can run it has it, or possibly has it because its list is not known yet. */
  readonly isKnown: (filename: string) => boolean
  readonly names: readonly string[]
  /** Start of a sentence about missing names. */
  readonly whoLacks: string
}

/** @param target alias of the required server; empty for any */
async function knownLoras (target: string, { registry, states }: LoraSources): Promise<KnownLoras> {
  const named = registry.byAlias(target)
  const reporting = named === undefined
    ? (await inventoriesOf(registry, states)).map(({ inventory }) => inventory)
    : [await states.inventory(named.id)]
  const silent = reporting.some(inventory => inventory === null || inventory.missing.includes('loras'))
  const inventories = reporting.flatMap(inventory => inventory ?? [])
  return {
    servers: named === undefined ? registry.list().filter(({ enabled }) => enabled) : [named],
    isKnown: filename => silent || inventories.some(inventory => findLora(filename, inventory) !== null),
    names: [...new Set(inventories.flatMap(({ loras }) => loras.map(({ name }) => name)))],
    whoLacks: named === undefined ? 'No server has the' : `The server ${named.alias} has no`
  }
}

export const requestSchemas = {
  txt2img: BotTxt2imgRequest,
  img2img: BotImg2imgRequest,
  inpaint: BotInpaintRequest,
  outpaint: BotOutpaintRequest,
  controlnet: BotControlNetRequest,
  regional: BotRegionalRequest,
  upscale: BotUpscaleRequest,
  'face-restore': BotFaceRestoreRequest
} satisfies Record<string, TObject>
export type GenerationKind = keyof typeof requestSchemas

const Strict = WithDefaults({ strict })

/** Every field of any request by its name, as the first kind that has it defines it. */
export const requestFields: Readonly<Record<string, TSchema>> = Object.fromEntries(
  Object.values(requestSchemas).toReversed().flatMap(({ properties }) => Object.entries(properties)))

/**
 * Every field of any request, so that a user's default for one kind is no mistake for another. Not those of webhooks:
 * each request, or its access key, names its receiver.
 */
export const knownFields: ReadonlySet<string> = new Set(
  Object.keys(requestFields).filter(name => !Object.hasOwn(webhookFields, name) && name !== 'strict'))

/** A request with its form parsed, and its sender. */
export interface BotCall {
  readonly fields: Readonly<Record<string, unknown>>
  /** Id of the access key. */
  readonly keyId: string | null
  /** Address under which the client reached us. */
  readonly baseUrl: string
  readonly context: RequestContext
}

/** A request merged with everything that is stored for its user. */
export interface CompleteRequest {
  /** Id of the access key. */
  readonly keyId: string | null
  readonly user: BotUser
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
 * Merges a client's fields with preset and session.
 * @throws ValidationFailure for a request without a user, ServiceError `preset_not_found`
 */
export async function completeRequest (
  kind: GenerationKind, { fields, keyId }: BotCall, sources: RequestSources
): Promise<CompleteRequest> {
  const user = botUser({ keyId }, userIdOf(kind, fields))
  const unknown = unknownFields(requestSchemas[kind], fields)
  if (readFields(Strict, fields).strict) refuse(unknown)
  const session = await sources.sessions.read(user)
  const stored = asDefaults(session.settings, knownFields)
  const preset = asDefaults(await presetOf(user, fields, sources), knownFields)
  const laid = mergeDefaults(fields, preset.fields, stored.fields)
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

/** @throws ValidationFailure with all other faults beside it */
function userIdOf (kind: GenerationKind, fields: BotCall['fields']): string {
  const { user_id: id } = fields
  return typeof id === 'string' && id.length <= 200 && id !== '' ? id : readFields(requestSchemas[kind], fields).user_id
}

async function presetOf (user: BotUser, { preset_id: reference }: BotCall['fields'], sources: RequestSources) {
  if (typeof reference !== 'string' || reference === '') return {}
  const { config } = await sources.presets.use(user, reference)
  return await sources.keptImages.use(config)
}

/** The session's ControlNet units if the request has none: those that have an image, or get the request's. */
async function sessionUnits (session: Session, laid: Said, { keptImages }: RequestSources) {
  if (says(laid, 'controlnet_units') || session.units.length === 0) return { said: {}, warnings: [] }
  const { units } = await keptImages.use({ units: session.units }) as { units: ReadonlyArray<Said> }
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

/** A preset that was saved for another kind of request. */
function unusedOfPreset (kind: GenerationKind, { fields, unknown }: StoredDefaults): Warning[] {
  const unused = Object.keys(fields).filter(name => !Object.hasOwn(requestSchemas[kind].properties, name))
  const names = [...unused, ...unknown].slice(0, 20)
  if (names.length === 0) return []
  const message = `The preset has fields that /generate/${kind} does not know: ${names.join(', ')}.`
  return [{ code: 'preset_fields_ignored', message, field: 'preset_id' }]
}
