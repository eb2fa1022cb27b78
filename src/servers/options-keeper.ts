import type { Warning } from '../../schemas/generation-parameters.ts'
import type { A1111Client } from '../a1111/client.ts'
import { type AskedSettings, sameSetting, unaskedMarks } from '../a1111/infotext-parameters.ts'
import { rulesOf } from '../a1111/kinds/registry.ts'
import { findCheckpoint, splitHash } from '../a1111/names.ts'
import type { Inventory, ServerTraits } from '../a1111/types.ts'
import { stringifyJson } from '../lib/exact-json.ts'
import { type JsonObject, textOf } from '../lib/json-values.ts'
import type { Log } from '../lib/logging.ts'
import type { LearnedTraits } from './learned-traits.ts'
import {
  createOptionsAccess, type GenerationEnd, type ProcessConnection, selected, type SentOptions, settingStays,
  unaskedSetting, type WantedOptions
} from './options-access.ts'
import type { Server } from './registry.ts'
import type { KeptOptions, KeptOptionsStore, LentSetting } from './state-store.ts'

/** Ensures that our jobs leave nothing in a server's options, and that each job gets the options that it means. */
export interface OptionsKeeper {
  /**
   * Call this when nothing of ours runs at the server, right before a generation is sent.
   * @throws GenerationFailure `server-down` while the server is away or starting, so that nothing is sent with unknown
   * options
   */
  ready (wanted: WantedOptions, signal: AbortSignal): Promise<SentOptions>
  over (sent: SentOptions, end: GenerationEnd): void
  /**
   * Finds settings in an answer that neither its job requested nor people chose; the next jobs are sent without them.
   */
  check (asked: AskedSettings, info: JsonObject): Promise<Warning[]>
  /** Takes note of the options while at most one generation of ours is at the server. */
  observe (options: JsonObject): void
  /** The title of the checkpoint that people selected there; null if unknown. */
  selection (): string | null
  /**
   * Raised when a generation is sent and when it ends: options that were read across either can be those of the
   * generation, which the server restores at its end.
   */
  generations (): number
  /** The server was away: now it has only the values of its config file. */
  restarted (): void
  /** Whether the server can have values of ours that should be restored now. */
  hasLeft (when: 'between jobs' | 'idle'): boolean
  /** Records that nothing is left, if that is so. */
  save (): Promise<void>
  /** Restores the remaining values. Call this when nothing of ours runs there; never throws. */
  putBack (signal: AbortSignal): Promise<void>
}

export interface OptionsKeeperDependencies {
  readonly server: () => Pick<Server, 'id' | 'alias' | 'address' | 'restoreSelection'>
  readonly client: Pick<A1111Client, 'readJson' | 'postJson' | 'progress'>
  readonly connection: ProcessConnection
  readonly store: KeptOptionsStore
  readonly inventory: () => Promise<Inventory | null>
  readonly traits: () => ServerTraits | null
  readonly learned: () => LearnedTraits
  readonly log: Log
}

const maxUsed = 500
const maxValues = 20

type Lent = Record<string, LentSetting>

export async function createOptionsKeeper (dependencies: OptionsKeeperDependencies): Promise<OptionsKeeper> {
  const { server, client, connection, store, inventory, traits, learned, log } = dependencies
  const access = createOptionsAccess({ alias: () => server().alias, client, log })
  const { read, change, isBusy } = access
  const { baseUrl } = server().address
  const nothing: KeptOptions = { baseUrl, selection: null, open: [], used: [], lent: {} }
  const stored = await store.read(server().id)
  let kept = stored?.baseUrl === baseUrl ? stored : nothing
  let saved = stringifyJson(kept)
  /** Settings that jobs can have left; after a crash of ours all of them. */
  const left = new Set(Object.keys(kept.lent))
  /** Those that jobs certainly left, because they could not be restored before. */
  const owed = new Set<string>()
  /** Settings that the server restores in its current run. */
  const ensured = new Set<string>()
  /** Whether the server restores the values that an answered job overrode; null: not observed yet. */
  const restores: { selection: boolean | null, settings: boolean | null } = { selection: null, settings: null }
  let answered: SentOptions | null = null
  let inFlight: SentOptions | null = null
  let generations = 0
  /** Whether all that was sent since the last look leaves the options as people set them. */
  let isUndisturbed = false
  /** Whether something was sent without a look, so that people can have selected another checkpoint unnoticed. */
  let isStale = false
  let lastSeen: JsonObject | null = null

  /** One after the other, since each depends on the findings of the one before. */
  let queued: Promise<unknown> = Promise.resolve()

  async function oneByOne<Outcome> (work: () => Promise<Outcome>): Promise<Outcome> {
    const task = queued.then(work)
    queued = task.catch(() => undefined)
    return await task
  }

  async function save (): Promise<void> {
    const text = stringifyJson(kept)
    if (text === saved) return
    await store.write(server().id, kept)
    saved = text
  }

  /** A title as lists store it: by the server's list, without the hash that a title gets with its first use. */
  async function plain (name: string): Promise<string> {
    return splitHash((await found(name))?.title ?? name).name
  }

  async function found (name: string) {
    const lists = await inventory()
    try {
      return lists === null ? null : findCheckpoint(name, lists)
    } catch {
      return null
    }
  }

  /**
   * Records the options while nothing of ours runs that overrides any. False if another client's generation could be
   * overriding the selection.
   */
  async function take (options: JsonObject): Promise<boolean> {
    const isCertain = await takeSelection(textOf(options[selected]))
    const lent: Lent = { ...kept.lent }
    for (const [name, { before, values }] of Object.entries(kept.lent)) {
      const now = options[name]
      if (left.has(name) && !sameSetting(now, before) && values.some(value => sameSetting(now, value))) continue
      left.delete(name)
      owed.delete(name)
      // a person's change holds from now on
      lent[name] = { before: now, values }
    }
    if (answered !== null && Object.keys(answered.settings).length > 0) restores.settings = left.size === 0
    kept = { ...kept, lent }
    lastSeen = options
    isStale &&= !isCertain
    return isCertain
  }

  async function takeSelection (seen: string | null): Promise<boolean> {
    const { selection, open } = kept
    // Nothing changed, so no list is needed.
    if (seen !== null && seen === selection && open.length === 0) return true
    const now = seen === null ? null : await plain(seen)
    if (seen === null || now === null) {
      // a server that has nothing selected takes its first checkpoint
      kept = { ...kept, selection: (await inventory())?.checkpoints[0]?.title ?? null, open: [] }
    } else if (selection === null) {
      kept = { ...kept, selection: seen }
    } else if (now === await plain(selection)) {
      if (answered?.restore === true && open.length > 0) restores.selection = true
      kept = { ...kept, selection: seen, open: [] }
    } else if (open.includes(now)) {
      if (answered?.restore === true && answered.checkpoint !== null) restores.selection = false
      kept = { ...kept, open: [now] }
    } else if (inFlight === null && await isBusy()) {
      return false
    } else {
      log.info({ server: server().alias, checkpoint: seen }, 'another checkpoint was selected at the server')
      kept = { ...kept, selection: seen, open: [] }
    }
    return true
  }

  /** Makes the server restore these settings from now on, by setting each to its current value. */
  async function ensure (
    names: readonly string[], wanted: JsonObject, now: JsonObject, signal: AbortSignal
  ): Promise<void> {
    const present = Object.fromEntries(names.filter(name => name in now).map(name => [name, now[name] ?? null]))
    if (Object.keys(present).length === 0) return
    // A null, and Forge's empty list of modules, count as unchanged; setting another value first makes it a change.
    const empty = Object.keys(present).filter(name => present[name] === null || isEmptyList(present[name]))
    const other = Object.fromEntries(empty.filter(name => wanted[name] !== undefined).map(name => [name, wanted[name]]))
    if (Object.keys(other).length > 0 && !await change(other, signal)) return
    if (await change(present, signal)) for (const name of Object.keys(present)) ensured.add(name)
  }

  function lend (settings: JsonObject, now: JsonObject): void {
    const lent: Lent = { ...kept.lent }
    for (const [name, value] of Object.entries(settings)) {
      const before = lent[name] ?? (name in now ? { before: now[name], values: [] } : null)
      if (before === null || before.values.some(one => sameSetting(one, value))) continue
      lent[name] = { ...before, values: [...before.values, value].slice(-maxValues) }
    }
    kept = { ...kept, lent }
  }

  function restoresEverything (): boolean {
    return rulesOf(traits()).restoresOverrides === 'all' || learned().restoresOverrides === 'all'
  }

  /** Whether a setting stays as a job left it. Setting it before helps only if the server restores such settings. */
  function stays (name: string): boolean {
    return learned().restoresOverrides === 'none' || !ensured.has(name)
  }

  /** The selection under the server's current title; null while it is unknown. */
  async function selectedTitle (): Promise<string | null> {
    return kept.selection === null ? null : (await found(kept.selection))?.title ?? kept.selection
  }

  return {
    selection: () => kept.selection,
    generations: () => generations,
    ready: async (wanted, signal) => await oneByOne(async () => {
      const { settings, touched, switches, iterates, checkpoint } = wanted
      const restoresAll = restoresEverything()
      if (!connection.isUnbroken()) ensured.clear()
      const names = [...new Set([...Object.keys(settings), ...touched])]
      const missing = restoresAll ? [] : names.filter(name => !ensured.has(name))
      // The checkpoint is looked up and named, so that a selection in between makes no difference.
      const isOpen = checkpoint === null
      // A checkpoint that stays selected must not silently replace a person's choice.
      const isKnown = kept.selection !== null && server().restoreSelection !== 'never'
      // As long as our jobs override nothing, one that names nothing gets what people selected in any case.
      const isPlain = isOpen && names.length === 0 && !switches && !iterates
      const isUnneeded = isPlain && isUndisturbed && left.size === 0 && owed.size === 0 && kept.open.length === 0
      const isLookNeeded = !isUnneeded && (isOpen || isStale || !isKnown || missing.length > 0 || owed.size > 0)
      if (missing.length > 0) await connection.renew()
      const now = isLookNeeded ? await read(signal) : null
      const isCertain = now === null || await take(now)
      if (now !== null && left.size > 0) await putSettingsBack(signal)
      if (now !== null && missing.length > 0) await ensure(missing, settings, now, signal)
      lend(settings, now ?? {})
      const returned = Object.fromEntries([...owed].filter(name => settings[name] === undefined)
        .map(name => [name, kept.lent[name]?.before]))
      const unrestored = missing.filter(name => name in settings && !ensured.has(name) && (now === null || name in now))
      const title = checkpoint ?? (isCertain && !isUnneeded ? await selectedTitle() : null)
      const selection = kept.selection === null ? null : await plain(kept.selection)
      const isSelected = title === null || splitHash(title).name === selection
      const mayStay = server().restoreSelection === 'never' || title === null || (isSelected && now !== null)
      const isOwn = names.length > 0 || switches
      const sent: SentOptions = {
        settings: { ...returned, ...settings },
        checkpoint: title,
        // A value that everyone gets anyway can stay, so that a person's change meanwhile is not undone.
        restore: isOwn || !mayStay,
        warnings: unrestored.map(name => settingStays(name, access.why(), now === null ? 'hidden' : 'shown'))
      }
      if (title !== null && !isSelected) {
        const name = splitHash(title).name
        kept = { ...kept, open: added(kept.open, name), used: added(kept.used, name).slice(-maxUsed) }
      }
      for (const name of Object.keys(settings)) if (kept.lent[name] !== undefined) left.add(name)
      await save()
      isUndisturbed = isUnneeded || (isPlain && now !== null && isCertain && left.size === 0 && overridesNothing(sent))
      isStale ||= isUnneeded
      inFlight = sent
      answered = null
      generations++
      return sent
    }),
    over (sent, end) {
      inFlight = null
      generations++
      if (end !== 'answered') return
      answered = sent
      const isTrusted = connection.isUnbroken()
      for (const name of Object.keys(sent.settings)) {
        if (!sent.restore) {
          owed.delete(name)
          left.delete(name)
          ensured.add(name)
        } else if (ensured.has(name) && isTrusted && restores.settings === true) {
          left.delete(name)
        } else if (!restoresEverything() && kept.lent[name] !== undefined && stays(name)) {
          owed.add(name)
        }
      }
      if (!sent.restore || restores.selection !== true || sent.checkpoint === null) return
      const name = splitHash(sent.checkpoint).name
      kept = { ...kept, open: kept.open.filter(title => title !== name) }
    },
    async check (asked, info) {
      const marks = unaskedMarks(info, asked)
      const isSeen = (setting: string, value: unknown) => lastSeen !== null && sameSetting(lastSeen[setting], value)
      const strange = marks.filter(({ setting, value }) => left.has(setting) || !isSeen(setting, value))
      if (strange.length === 0) return []
      const at = generations
      const now = await read()
      const others = Object.keys(inFlight?.settings ?? {})
      if (now !== null) lastSeen = { ...now, ...Object.fromEntries(others.map(name => [name, undefined])) }
      if (now !== null) await takeUnless(() => at !== generations || inFlight !== null, now)
      const warnings: Warning[] = []
      for (const mark of strange) {
        const { setting, value } = mark
        const lent = kept.lent[setting]
        const isOurs = lent !== undefined && left.has(setting) && lent.values.some(one => sameSetting(one, value))
        if (isOurs) owed.add(setting)
        // VAEs are also chosen by the checkpoint's own preferences
        else if (setting === 'sd_vae' || others.includes(setting) || isSeen(setting, value)) continue
        warnings.push(unaskedSetting(mark, isOurs ? 'left' : 'unknown'))
      }
      return warnings
    },
    observe (options) {
      const at = generations
      const work = inFlight === null || isEmpty(inFlight)
        ? takeUnless(() => at !== generations, options)
        : noticeChoice(textOf(options[selected]), inFlight)
      work.catch(error => { log.debug({ server: server().alias, err: error }, 'the selection could not be noted') })
    },
    restarted () {
      ensured.clear()
      isUndisturbed = false
      access.forgetRefusals()
      kept = { ...kept, open: kept.used }
      for (const name of Object.keys(kept.lent)) left.add(name)
      answered = null
    },
    hasLeft (when) {
      if (access.isRefused()) return false
      const mode = server().restoreSelection
      const isSelection = kept.open.length > 0 && mode !== 'never'
      if (when === 'between jobs') return isSelection && mode === 'always' && restores.selection !== true
      return isSelection || left.size > 0
    },
    putBack: async signal => await oneByOne(async () => {
      try {
        const now = await read(signal)
        if (now !== null && !await isBusy()) {
          await take(now)
          await putSettingsBack(signal)
          const title = await selectedTitle()
          const isDue = server().restoreSelection !== 'never' && kept.open.length > 0 && title !== null
          if (isDue && await change({ [selected]: title }, signal)) kept = { ...kept, open: [] }
          answered = null
        }
        await save()
      } catch (error) {
        log.warn({ server: server().alias, err: error }, 'what jobs have left at the server could not be put back')
      }
    }),
    save
  }

  /** If a person selects a checkpoint while a job of ours runs, the server undoes that at the end of the job. */
  async function noticeChoice (seen: string | null, sent: SentOptions): Promise<void> {
    const { selection } = kept
    if (seen === null || selection === null || sent.checkpoint === null || !sent.restore) return
    const now = await plain(seen)
    const before = await plain(selection)
    if (now === before || now === splitHash(sent.checkpoint).name || inFlight !== sent) return
    kept = { ...kept, selection: seen, open: added(kept.open.filter(title => title !== now), before) }
    await save()
  }

  /** Applies a reading that was made while other work could continue. */
  async function takeUnless (isOutdated: () => boolean, options: JsonObject): Promise<void> {
    await oneByOne(async () => {
      if (isOutdated()) return
      await take(options)
      await save()
    })
  }

  /** Restores the settings that jobs have left. */
  async function putSettingsBack (signal: AbortSignal): Promise<void> {
    const names = [...left].filter(name => kept.lent[name] !== undefined)
    const before = Object.fromEntries(names.map(name => [name, kept.lent[name]?.before ?? null]))
    if (names.length === 0) return
    if (await change(before, signal)) {
      for (const name of names) {
        left.delete(name)
        owed.delete(name)
        ensured.add(name)
      }
    } else {
      for (const name of names) owed.add(name)
    }
  }
}

function added (titles: readonly string[], title: string): readonly string[] {
  return titles.includes(title) ? titles : [...titles, title]
}

/** Whether it changes nothing at a server, where its checkpoint, if there is one, is selected anyway. */
function overridesNothing ({ settings, restore }: SentOptions): boolean {
  return !restore && Object.keys(settings).length === 0
}

function isEmpty (sent: SentOptions): boolean {
  return overridesNothing(sent) && sent.checkpoint === null
}

function isEmptyList (value: unknown): boolean {
  return Array.isArray(value) && value.length === 0
}
