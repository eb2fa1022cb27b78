import { useEffect, useState } from 'preact/hooks'
import { onFollowed, readFollowed } from '../lib/followed.ts'
import { complain } from '../lib/messages.ts'
import { readPreference, usePreference } from '../lib/preference.ts'
import {
  allowNotifications, canNotify, endSentence, playTones, showBadge, tellEnd, tellingName, titleMark, untold,
  type Telling
} from '../lib/tell.ts'
import { t } from '../texts/en/queue.ts'

/** Follows the jobs of this tab: in its title, on the icon of the app, and at the end as the user asked for. */
export function useJobsInTitle () {
  const [mark, setMark] = useState(() => titleMark(readFollowed()))
  useEffect(() => {
    showBadge(readFollowed().unfinished)
    const seen = () => { if (!document.hidden) setMark(titleMark(readFollowed())) }
    const end = onFollowed((followed, isEnd) => {
      setMark(isEnd && document.hidden ? t.endMark(endSentence(followed)) : titleMark(followed))
      showBadge(followed.unfinished)
      if (isEnd) tellEnd(followed, readPreference<Telling | null>(tellingName, untold))
    })
    document.addEventListener('visibilitychange', seen)
    return () => {
      end()
      document.removeEventListener('visibilitychange', seen)
    }
  }, [])
  return mark
}

function useTelling () {
  const [telling, setTelling] = usePreference<Telling | null>(tellingName, untold)
  const { notification = false, sound = false } = telling ?? {}
  return {
    telling,
    notification,
    sound,
    decline: () => setTelling({ notification: false, sound: false }),
    async setNotification (wanted: boolean) {
      if (!wanted || await allowNotifications()) setTelling({ notification: wanted, sound })
      else complain(new Error(t.browserDoesNotAllow))
    },
    setSound (wanted: boolean) {
      if (wanted) playTones()
      setTelling({ notification, sound: wanted })
    }
  }
}

/** Asks once, beside the results of the first job. */
export function AskToTell () {
  const { telling, decline, setNotification, setSound } = useTelling()
  if (telling !== null) return null
  return (
    <div class='notice' role='group' aria-label={t.whenJobsAreDone}>
      <p>{t.doYouWantTo}</p>
      <div class='actions'>
        {canNotify && <button type='button' class='button' onClick={() => setNotification(true)}>{t.notifyMe}</button>}
        <button type='button' class='button' onClick={() => setSound(true)}>{t.playSound}</button>
        <button type='button' class='button quiet' onClick={decline}>{t.noThanks}</button>
      </div>
    </div>
  )
}

/** The same choice, for later. */
export function TellingCard () {
  const { notification, sound, setNotification, setSound } = useTelling()
  return (
    <section class='card' aria-labelledby='telling'>
      <h2 id='telling'>{t.whenYourJobsAre}</h2>
      <p class='hint'>{t.forJobsThatYouSubmit}</p>
      <label class='check'>
        <input
          type='checkbox' checked={notification} disabled={!canNotify}
          onChange={event => setNotification(event.currentTarget.checked)}
        />{t.notification}
        {!canNotify && <span class='hint'>{t.browsersAllowItOnly}</span>}
      </label>
      <label class='check'>
        <input type='checkbox' checked={sound} onChange={event => setSound(event.currentTarget.checked)} />{t.sound}
      </label>
    </section>
  )
}
