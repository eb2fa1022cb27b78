import { randomBytes, randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { parseJsonText, stringifyJson } from '../lib/exact-json.ts'
import type { PresetChange, presetVisibility } from '../../schemas/bots-settings.ts'
import { invalidField } from '../a1111/field-values.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import { changeJson, readJson } from '../redis/json-value.ts'
import type { KeptImages } from './images.ts'
import { userKey, type BotUser } from './user-scope.ts'

type Fields = Readonly<Record<string, unknown>>

/** A saved workflow. Times are in milliseconds since the epoch. */
export interface StoredPreset {
  readonly id: string
  readonly user: BotUser
  readonly name: string
  readonly description: string | null
  /** Fields of a request, images as references. */
  readonly config: Fields
  readonly createdAt: number
  readonly lastUsedAt: number | null
  readonly uses: number
  readonly shared: typeof presetVisibility[number]
  /** Generated at the first share by link, and kept, so that an old link works again. */
  readonly shareCode: string | null
  readonly copiedFrom: string | null
}

export interface NewPreset {
  readonly name: string
  readonly description: string | null
  readonly config: Fields
}

export interface Presets {
  list (user: BotUser): Promise<StoredPreset[]>
  /** @throws ServiceError `invalid_field_value`, `invalid_image` */
  save (user: BotUser, preset: NewPreset): Promise<StoredPreset>
  /** The user's own. @throws ServiceError `preset_not_found` */
  read (user: BotUser, id: string): Promise<StoredPreset>
  change (user: BotUser, id: string, change: PresetChange): Promise<StoredPreset>
  share (user: BotUser, id: string, shared: StoredPreset['shared']): Promise<StoredPreset>
  remove (user: BotUser, id: string): Promise<void>
  /**
   * The preset with this id or share code, if the user can use it; records the use.
   * @throws ServiceError `preset_not_found`
   */
  use (user: BotUser, reference: string): Promise<StoredPreset>
  /** The same without recording the use. */
  look (user: BotUser | null, reference: string): Promise<StoredPreset>
  copy (user: BotUser, reference: string, name: string | undefined): Promise<StoredPreset>
  /** Presets that are shared with everyone, newest first. */
  sharedWithAll (search: string, offset: number, limit: number): Promise<StoredPreset[]>
}

const maxPresets = 500
/** As JSON, images not counted. */
const maxConfigBytes = 65_536

export function createPresets (
  { redis, keys, images }: { readonly redis: Redis, readonly keys: Keys, readonly images: KeptImages }
): Presets {
  const presetKey = (id: string) => keys.key('studio', 'preset', id)
  const listKey = (user: BotUser) => userKey(keys, user, 'presets')
  const sharedKey = keys.key('studio', 'shared-presets')
  const codesKey = keys.key('studio', 'preset-codes')

  const find = async (id: string) => isId(id) ? await readJson<StoredPreset>(redis, presetKey(id)) : null

  async function readMany (ids: readonly string[]): Promise<StoredPreset[]> {
    if (ids.length === 0) return []
    const texts = await redis.mget(...ids.map(presetKey))
    return texts.flatMap(text => text === null ? [] : parseJsonText(text) as StoredPreset)
  }

  async function own (user: BotUser, id: string): Promise<StoredPreset> {
    const preset = await find(id)
    if (preset === null || !isSameUser(preset.user, user)) throw notFound()
    return preset
  }

  /** @throws ServiceError `preset_not_found` if it was removed meanwhile */
  async function changed (id: string, change: (preset: StoredPreset) => StoredPreset) {
    const { before, after } = await changeJson<StoredPreset>(redis, presetKey(id), preset => preset && change(preset))
    if (before === null || after === null) throw notFound()
    return { before, after }
  }

  async function create (user: BotUser, preset: NewPreset, copiedFrom: string | null): Promise<StoredPreset> {
    if (await redis.zcard(listKey(user)) >= maxPresets) throw invalidField('name', `A user can have ${maxPresets} presets.`)
    const stored: StoredPreset = {
      ...preset,
      id: randomUUID(),
      user,
      config: await keptConfig(preset.config),
      createdAt: Date.now(),
      lastUsedAt: null,
      uses: 0,
      shared: 'private',
      shareCode: null,
      copiedFrom
    }
    await redis.multi()
      .set(presetKey(stored.id), stringifyJson(stored))
      .zadd(listKey(user), stored.createdAt, stored.id)
      .exec()
    return stored
  }

  async function keptConfig (config: Fields): Promise<Fields> {
    const kept = await images.keep(config)
    if (Buffer.byteLength(stringifyJson(kept)) <= maxConfigBytes) return kept
    await images.release(kept)
    throw invalidField('config', `config can have at most ${maxConfigBytes} bytes as JSON, without its pictures.`)
  }

  async function look (user: BotUser | null, reference: string): Promise<StoredPreset> {
    const id = isId(reference) ? reference : await redis.hget(codesKey, reference) ?? ''
    const preset = await find(id)
    const isOwn = preset !== null && user !== null && isSameUser(preset.user, user)
    const byCode = preset !== null && preset.shared !== 'private' && preset.shareCode === reference
    if (preset === null || !(isOwn || byCode || preset.shared === 'everyone')) throw notFound()
    return preset
  }

  return {
    list: async user => await readMany(await redis.zrange(listKey(user), '0', '-1')),
    save: async (user, preset) => await create(user, preset, null),
    read: own,
    async change (user, id, { config, ...others }) {
      await own(user, id)
      const kept = config === undefined ? undefined : await keptConfig(config)
      const { before, after } = await changed(id, preset =>
        ({ ...preset, ...others, ...(kept === undefined ? {} : { config: kept }) }))
      if (kept !== undefined) await images.release(before.config)
      return after
    },
    async share (user, id, shared) {
      await own(user, id)
      const code = randomBytes(9).toString('base64url')
      const { after } = await changed(id, preset => ({ ...preset, shared, shareCode: preset.shareCode ?? code }))
      const transaction = redis.multi().hset(codesKey, after.shareCode ?? code, id)
      if (shared === 'everyone') transaction.zadd(sharedKey, Date.now(), id)
      else transaction.zrem(sharedKey, id)
      await transaction.exec()
      return after
    },
    async remove (user, id) {
      const { shareCode, config } = await own(user, id)
      await redis.multi()
        .del(presetKey(id)).zrem(listKey(user), id).zrem(sharedKey, id).hdel(codesKey, shareCode ?? '').exec()
      await images.release(config)
    },
    async use (user, reference) {
      const { id } = await look(user, reference)
      return (await changed(id, preset => ({ ...preset, lastUsedAt: Date.now(), uses: preset.uses + 1 }))).after
    },
    look,
    async copy (user, reference, name) {
      const origin = await look(user, reference)
      const config = await images.use(origin.config)
      return await create(user, { name: name ?? origin.name, description: origin.description, config }, origin.id)
    },
    async sharedWithAll (search, offset, limit) {
      const all = await readMany(await redis.zrevrange(sharedKey, 0, -1))
      const words = search.toLowerCase().split(/\s+/).filter(word => word !== '')
      const fits = ({ name, description }: StoredPreset) => {
        const text = `${name} ${description ?? ''}`.toLowerCase()
        return words.every(word => text.includes(word))
      }
      return all.filter(preset => preset.shared === 'everyone' && fits(preset)).slice(offset, offset + limit)
    }
  }
}

function isId (text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)
}

function isSameUser (one: BotUser, other: BotUser): boolean {
  return one.owner === other.owner && one.id === other.id
}

const notFound = () => new ServiceError('preset_not_found', 'Preset not found')
