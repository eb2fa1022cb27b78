import type { Followed } from './followed.ts'
import { notifyByWorker } from './service-worker.ts'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/queue.ts'

/** How the user wants to be told that the jobs are done; null until asked. */
export interface Telling {
  readonly notification: boolean
  readonly sound: boolean
}
export const tellingName = 'tell'
export const untold: Telling | null = null

/** Browsers show notifications only for secure pages: over https, or on this machine. */
export const canNotify = window.isSecureContext && 'Notification' in window

/** Asks the browser for permission; false if the user or the browser refuses. */
export async function allowNotifications () {
  return canNotify && await window.Notification.requestPermission() === 'granted'
}

/** Unlocked by a click, because browsers play no sound before one. */
let audio: AudioContext | undefined

/** Two short tones. */
export function playTones () {
  audio ??= new window.AudioContext()
  audio.resume().catch(() => {})
  for (const [index, frequency] of [660, 880].entries()) {
    const begin = audio.currentTime + index * 0.18
    const volume = audio.createGain()
    volume.gain.setValueAtTime(0.15, begin)
    volume.gain.exponentialRampToValueAtTime(0.001, begin + 0.3)
    const tone = audio.createOscillator()
    tone.frequency.value = frequency
    tone.connect(volume).connect(audio.destination)
    tone.start(begin)
    tone.stop(begin + 0.3)
  }
}

/** `3 jobs are done, 1 failed` */
export function endSentence ({ completed, failed }: Followed) {
  if (completed === 0) return failed === 0 ? t.jobsWereCancelled : t.jobsFailed(failed)
  return failed === 0 ? t.jobsAreDone(completed) : t.jobsAreDoneSomeFailed({ completed, failed })
}

/** Tells the user in the ways that they asked for. A notification only while they do not see the page. */
export function tellEnd (followed: Followed, telling: Telling | null) {
  if (telling?.sound) playTones()
  if (!telling?.notification || !canNotify || window.Notification.permission !== 'granted' || document.hasFocus()) return
  const [title, options] = [endSentence(followed), { tag: 'stablequeue', body: common.stableQueue }]
  try {
    const notice = new window.Notification(title, options)
    notice.onclick = () => {
      window.focus()
      notice.close()
    }
  } catch {
    // Phones show notifications of service workers only.
    notifyByWorker(title, options).catch(() => {})
  }
}

/** What the title of the tab says before the name of the page. */
export function titleMark ({ unfinished, running, progress }: Followed) {
  if (unfinished === 0) return ''
  const words = running > 0 ? common.percent(progress * 100) : t.waitingNow
  return t.titleMark({ unfinished, words })
}

/** The number of unfinished jobs on the icon of the installed app, where the browser has one. */
export function showBadge (count: number) {
  if (!('setAppBadge' in navigator)) return
  const shown = count === 0 ? navigator.clearAppBadge() : navigator.setAppBadge(count)
  shown.catch(() => {})
}
