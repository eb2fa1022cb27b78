import type { ListedJob } from '../lib/api-types.ts'
import { followJob } from '../lib/follow-row.ts'
import { attempt } from '../lib/messages.ts'
import { jobs } from '../lib/service.ts'
import { Icon } from './icon.tsx'
import { OnceButton } from './once-button.tsx'
import { t } from '../texts/en/queue.ts'

/** Takes a waiting job to the background, where it yields to all others, or brings it back. */
export function LaneSwitch ({ job: { id, background }, name, onDone }: {
  job: Pick<ListedJob, 'id' | 'background'>
  name: string
  onDone: () => void
}) {
  const label = background ? t.bringBack : t.runInBackground
  async function change () {
    if (await attempt(() => jobs.change(id, { background: !background }))) {
      onDone()
      followJob(id, 'lane')
    }
    // The next press can follow at once, because it does the opposite.
    return false
  }
  return (
    <OnceButton
      class='button quiet' title={t.withKeys({ label, keys: t.altB })} data-of={id} data-place='lane'
      aria-label={t.actionOf({ action: label, name })} act={change}
    >
      <Icon name={background ? 'sun' : 'moon'} /><span class='word'>{label}</span>
    </OnceButton>
  )
}
