import type { Job, ListedJob } from './api-types.ts'
import { secondsText } from './format.ts'
import { t } from '../texts/en/queue.ts'

/** The place of a job among all, or its position, in words; empty unless the job waits. */
export function placeText ({ queue_position: position, place = position }: Pick<ListedJob, 'queue_position' | 'place'>) {
  return place === null || place === undefined ? '' : t.inQueue(place)
}

/** The server of a job, in words: a waiting job can belong to none. */
export function serverText ({ target_server_alias: alias }: Pick<ListedJob, 'target_server_alias'>) {
  return alias === 'default' ? t.anyServer : alias
}

/** The service's reason begins so if a job yields to others; its row names the background anyway. */
const ofLane = /^background: /

/** What a waiting job without an expected time waits for, in words; empty otherwise. */
export function reasonText ({ status, waiting_for: reason, estimated_start_time: moment }: Pick<ListedJob, 'status' | 'waiting_for' | 'estimated_start_time'>) {
  if (status !== 'pending' || moment || !reason) return ''
  if (ofLane.test(reason)) return reason.replace(ofLane, '')
  // Reasons that are sentences stand for themselves.
  return reason.endsWith('.') ? reason.slice(0, -1) : t.waitsFor(reason)
}

/** What a waiting job waits for beside the jobs ahead of it, which its position tells; empty if there is nothing. */
export function obstacleText ({ status, waiting_for: reason }: Pick<ListedJob, 'status' | 'waiting_for'>) {
  if (status !== 'pending' || !reason || reason.endsWith(' ahead of it')) return ''
  if (ofLane.test(reason)) return reason.replace(ofLane, '')
  return reason.endsWith('.') ? reason.slice(0, -1) : t.waitsFor(reason)
}

/** When a waiting job is done, usually and at the latest, in words; empty if there is no estimate. */
export function rangeText ({ status, eta_seconds: usual, eta_p90: latest }: Pick<ListedJob, 'status' | 'eta_seconds' | 'eta_p90'>) {
  if (status !== 'pending' || usual === null || usual === undefined) return ''
  const isWide = latest !== null && latest !== undefined && latest > usual * 1.1 + 1
  return isWide ? t.doneInTo({ usual: secondsText(usual), latest: secondsText(latest) }) : t.doneIn(secondsText(usual))
}

/** Who asked for a job, in words. @param nameOfKey the name of an access key by its id */
export function askerText (
  { channel, user_id: user, api_key_id: key }: Pick<ListedJob, 'channel' | 'user_id' | 'api_key_id'>,
  nameOfKey: (id: string) => string
) {
  const who = [key ? nameOfKey(key) : '', user ?? ''].filter(Boolean).join(', ')
  const how = channel === undefined ? '' : channels[channel]
  return who !== '' && how !== '' ? t.askerBy({ who, how }) : who || how
}

const channels = { ui: t.thisWebUi, api: t.api, sdapi: t.a1111Client, openai: t.openaiClient, bot: t.bot } as const

/** The expected start of a waiting job, in words; empty if there is no estimate. */
export function startText ({ status, estimated_start_time: moment }: Pick<ListedJob, 'status' | 'estimated_start_time'>) {
  if (status !== 'pending' || !moment) return ''
  const seconds = (Date.parse(moment) - Date.now()) / 1000
  return seconds < 1 ? t.startsAnyMoment : t.startsInAbout(secondsText(seconds))
}

/** The expected end of a waiting job, in words; empty if there is no estimate. */
export function endText ({ status, estimated_completion_time: moment }: Pick<Job, 'status' | 'estimated_completion_time'>) {
  if (status !== 'pending' || !moment) return ''
  return t.doneInAbout(secondsText(Math.max(1, (Date.parse(moment) - Date.now()) / 1000)))
}
