import type { Redis } from 'ioredis'
import { stringifyJson } from '../lib/exact-json.ts'
import { invalidField } from '../a1111/field-values.ts'
import { bareName } from '../a1111/names.ts'
import { renamed, ServiceError } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import { changeJson, readJson } from '../redis/json-value.ts'
import type { SessionChange } from '../../schemas/bots-settings.ts'
import type { KeptImages } from './images.ts'
import { userKey, type BotUser } from './user-scope.ts'

type Fields = Readonly<Record<string, unknown>>

/** A user's stored settings. Times are in milliseconds since the epoch. */
export interface Session {
  /** In their order in prompts: objects would put numeric names first. */
  readonly loras: ReadonlyArray<readonly [filename: string, weight: number]>
  /** ControlNet units as requests have them, images as references. */
  readonly units: readonly Fields[]
  readonly settings: Fields
  readonly updatedAt: number | null
}

export interface Sessions {
  /** An empty one for an unknown user. */
  read (user: BotUser): Promise<Session>
  /** Replaces the same LoRA's weight; a new one goes last. */
  addLora (user: BotUser, filename: string, weight: number): Promise<Session>
  /** Whether it existed. */
  removeLora (user: BotUser, filename: string): Promise<boolean>
  clearLoras (user: BotUser): Promise<void>
  /** @throws ServiceError `invalid_image` naming the field */
  addUnit (user: BotUser, unit: Fields): Promise<Session>
  change (user: BotUser, change: SessionChange): Promise<Session>
  remove (user: BotUser): Promise<void>
}

export interface SessionsDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly images: KeptImages
}

const empty: Session = { loras: [], units: [], settings: {}, updatedAt: null }
/** More than any server has units. */
export const maxUnits = 10

const maxLoras = 64
/** As JSON. */
const maxSettingsBytes = 16_384

/** Sessions, one value a user. */
export function createBotSessions ({ redis, keys, images }: SessionsDependencies): Sessions {
  const keyOf = (user: BotUser) => userKey(keys, user, 'session')

  /** @param change returns the new session; images of removed units are released */
  async function change (user: BotUser, make: (session: Session) => Session): Promise<Session> {
    const { before, after } = await changeJson<Session>(redis, keyOf(user), session => {
      const made = make(session ?? empty)
      if (made.loras.length > maxLoras) throw invalidField('active_loras', `A session can have at most ${maxLoras} LoRAs.`)
      return { ...made, updatedAt: Date.now() }
    })
    await releaseUnits((before?.units ?? []).filter(unit => !isKept(unit, after)))
    return after ?? empty
  }

  async function releaseUnits (units: readonly Fields[]): Promise<void> {
    if (units.length > 0) await images.release({ units })
  }

  async function keptUnits (units: readonly Fields[]): Promise<Fields[]> {
    const { controlnet_configs: kept } = await images.keep({ controlnet_configs: units })
    return kept as Fields[]
  }

  return {
    async read (user) {
      return await readJson<Session>(redis, keyOf(user)) ?? empty
    },
    addLora: async (user, filename, weight) => await change(user, session => {
      const known = session.loras.some(([name]) => isSameLora(name, filename))
      const loras = known
        ? session.loras.map(entry => isSameLora(entry[0], filename) ? [filename, weight] as const : entry)
        : [...session.loras, [filename, weight] as const]
      return { ...session, loras }
    }),
    async removeLora (user, filename) {
      let found = false
      await change(user, session => {
        const loras = session.loras.filter(([name]) => !isSameLora(name, filename))
        found = loras.length < session.loras.length
        return { ...session, loras }
      })
      return found
    },
    async clearLoras (user) {
      await change(user, session => ({ ...session, loras: [] }))
    },
    async addUnit (user, unit) {
      const [kept = {}] = await keptUnits([unit]).catch(error => { throw withoutPlace(error) })
      return await change(user, session => ({ ...session, units: [...session.units, kept].slice(-maxUnits) }))
    },
    async change (user, given) {
      refuseLargeSettings(given.custom_settings)
      const units = given.controlnet_configs === undefined ? undefined : await keptUnits(given.controlnet_configs)
      return await change(user, session => ({
        ...session,
        ...(given.active_loras === undefined ? {} : { loras: Object.entries(given.active_loras) }),
        ...(units === undefined ? {} : { units }),
        ...(given.custom_settings === undefined ? {} : { settings: given.custom_settings })
      }))
    },
    async remove (user) {
      const { before } = await changeJson<Session>(redis, keyOf(user), () => null)
      await releaseUnits(before?.units ?? [])
    }
  }
}

function refuseLargeSettings (settings: Fields = {}): void {
  if (Buffer.byteLength(stringifyJson(settings)) <= maxSettingsBytes) return
  throw invalidField('custom_settings', `custom_settings can have at most ${maxSettingsBytes} bytes as JSON.`)
}

/** A single unit does not come in a list. */
function withoutPlace (error: unknown): unknown {
  if (!(error instanceof ServiceError) || error.details.field === undefined) return error
  return renamed(error, { field: error.details.field.replaceAll('controlnet_configs.0.', '') })
}

/** Units are values: a unit that is sent again counts as another, with its own images. */
function isKept (unit: Fields, after: Session | null): boolean {
  return after?.units.includes(unit) === true
}

/** Some clients name a LoRA with its extension and folder, others without. */
export function isSameLora (one: string, other: string): boolean {
  return bareName(one).toLowerCase() === bareName(other).toLowerCase()
}
