import { aboutQueue, seldom, useLive } from '../lib/live.ts'
import { attempt } from '../lib/messages.ts'
import { settings } from '../lib/settings-service.ts'
import { Icon } from './icon.tsx'

/** Says that the whole queue is paused, and resumes it. */
export function QueueSwitch () {
  const { data, reload } = useLive(signal => settings.read(signal), [], { interval: seldom, about: aboutQueue })
  if (data?.settings.queueProcessingEnabled !== false) return null

  async function resumeQueue () {
    await attempt(() => settings.change({ queueProcessingEnabled: true }), 'The queue is on.')
    reload()
  }

  return (
    <div class='notice warning-notice welcome' role='status'>
      <p>The queue is off: jobs are accepted and wait; no server starts any.</p>
      <button type='button' class='button' onClick={resumeQueue}><Icon name='play' />Switch it on</button>
    </div>
  )
}
