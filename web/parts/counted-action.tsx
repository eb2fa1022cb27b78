import type { JobAction } from '../lib/api-types.ts'
import { ApiError } from '../lib/api.ts'
import { useState } from 'preact/hooks'
import { complain, say } from '../lib/messages.ts'
import { jobs } from '../lib/service.ts'
import { Confirm } from './dialog.tsx'
import { Icon, type IconName } from './icon.tsx'
import { t } from '../texts/en/queue.ts'

type Counted = Required<Pick<JobAction, 'expected' | 'created_before'>>

/** A button for an action on many jobs: counts them, asks, and then acts on exactly those. */
export function CountedAction ({ request, label, icon, question, act: actionText, sentence = '', onDone }: {
  request: JobAction
  label: string
  icon: IconName
  question: (count: string) => string
  /** The words of the button that confirms. */
  act: (count: string) => string
  sentence?: string
  onDone: () => void
}) {
  const [asking, setAsking] = useState<Counted & { notice: string } | null>(null)
  const [busy, setBusy] = useState(false)

  async function attempt (work: () => Promise<void>) {
    setBusy(true)
    await work().catch(complain)
    setBusy(false)
  }

  async function ask (notice = '') {
    const counted = await jobs.count(request)
    if (counted.expected === 0) {
      say(t.thereAreNoneAny)
      onDone()
    } else setAsking({ ...counted, notice })
  }

  async function act ({ expected, created_before: before }: Counted) {
    try {
      say((await jobs.act({ ...request, expected, created_before: before })).message)
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 'more_than_expected') throw error
      return await ask(t.moreJobsMatchBy)
    }
    setAsking(null)
    onDone()
  }

  const words = t.jobsExpected(asking?.expected ?? 0)
  return (
    <>
      <button type='button' class='button' disabled={busy} onClick={() => attempt(ask)}><Icon name={icon} />{label}</button>
      {asking !== null && (
        <Confirm
          title={question(words)} sentence={sentence} notice={asking.notice} action={actionText(words)}
          onConfirm={() => attempt(() => act(asking))} onClose={() => setAsking(null)}
        />
      )}
    </>
  )
}
