import { useRights } from '../lib/caller.ts'
import { attempt } from '../lib/messages.ts'
import { settings } from '../lib/settings-service.ts'
import { Icon } from './icon.tsx'
import { OnceButton } from './once-button.tsx'
import { t } from '../texts/en/queue.ts'

interface Switch {
  readonly enabled: boolean | undefined
  readonly onChanged: () => void
}

/** Says that the whole queue is paused, and resumes it. */
export function QueueSwitch ({ enabled, onChanged }: Switch) {
  const rights = useRights()
  if (enabled !== false) return null
  return (
    <div class='notice warning-notice welcome' role='status'>
      <p>{t.queueIsOffJobs}</p>
      {rights.change_queue && (
        <OnceButton class='button' act={() => switchQueue(true, onChanged)}><Icon name='play' />{t.resumeAll}</OnceButton>
      )}
    </div>
  )
}

/** Pauses all servers at once. */
export function PauseAll ({ enabled, onChanged }: Switch) {
  const rights = useRights()
  if (enabled !== true || !rights.change_queue) return null
  return (
    <OnceButton class='button' title={t.runningJobsFinishAnd} act={() => switchQueue(false, onChanged)}>
      <Icon name='pause' />{t.pauseAll}
    </OnceButton>
  )
}

async function switchQueue (enabled: boolean, onChanged: () => void) {
  const isDone = await attempt(() => settings.switchQueue(enabled))
  onChanged()
  return isDone
}
