import type { Changeable, Retention } from '../lib/api-types.ts'
import { bytesText, momentText } from '../lib/format.ts'
import { useForm } from '../lib/form.ts'
import { useEffect, useState } from 'preact/hooks'
import { useLive } from '../lib/live.ts'
import { complain, say } from '../lib/messages.ts'
import { settings } from '../lib/settings-service.ts'
import { Confirm } from './dialog.tsx'
import { FormProblem, NumberField } from './field.tsx'
import { Icon } from './icon.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/settings.ts'

/** The rules for deleting old jobs, and deleting them now. */
export function RetentionCard ({ changeable, onChanged }: { changeable: Changeable, onChanged: () => void }) {
  const kept = { retention_days: String(changeable.retention_days), retention_jobs: String(changeable.retention_jobs) }
  const form = useForm<Rules>(kept)
  /** The count when the dialog opened; null while it is closed. */
  const [asking, setAsking] = useState<Retention | null>(null)
  const [progress, setProgress] = useState<number | null>(null)
  const { data: current, reload } = useLive(signal => settings.retention({}, signal), [], { interval: null })
  const plan = usePlan(form.values)
  const isChanged = (['retention_days', 'retention_jobs'] as const).some(name => Number(form.values[name]) !== Number(kept[name]))

  async function save ({ retention_days: days, retention_jobs: jobs }: Rules) {
    await settings.change({ retention_days: wholeOf(days), retention_jobs: wholeOf(jobs) })
    say(t.retentionSaved)
    onChanged()
    reload()
  }

  /** One request deletes a part; repeats until all are deleted. Jobs that became due after the dialog opened stay. */
  async function purge ({ due, as_of: asOf }: Retention) {
    setAsking(null)
    let jobs = 0
    try {
      for (let more = true; more;) {
        setProgress(jobs)
        const answer = await settings.purge({ expected: Math.max(0, due.jobs - jobs), created_before: asOf })
        jobs += answer.removed.jobs
        more = answer.more
      }
      say(t.jobsRemoved(jobs))
    } catch (error) {
      complain(error)
    }
    setProgress(null)
    reload()
    onChanged()
  }

  async function ask () {
    try {
      setAsking(await settings.retention({}))
    } catch (error) {
      complain(error)
    }
  }

  const due = current?.due
  return (
    <section class='card' aria-labelledby='retention'>
      <h2 id='retention'>{t.oldJobs}</h2>
      <p>{t.retentionHint}</p>
      <form ref={form.element} noValidate onSubmit={event => form.submit(event, save)}>
        <FormProblem problem={form.problems['']} />
        <div class='fields numbers-only'>
          <NumberField label={t.daysToKeep} min='0' step='1' {...form.field('retention_days')} />
          <NumberField label={t.jobsToKeep} min='0' step='1' {...form.field('retention_jobs')} />
        </div>
        {isChanged && plan !== null && <p class='hint' role='status'>{dueText(plan, t.wouldBeDeleted)}</p>}
        {isChanged && <div class='actions'><button class='button primary' disabled={form.busy}>{common.save}</button></div>}
      </form>
      {!isChanged && due !== undefined && (
        <>
          <p role='status'>{dueText(due, t.canBeDeletedNow)}</p>
          {due.jobs > 0 && (
            <div class='actions'>
              <button type='button' class='button' disabled={progress !== null} onClick={ask}>
                <Icon name='bin' />{progress === null ? t.purgeNow : t.jobsRemovedSoFar(progress)}
              </button>
            </div>
          )}
        </>
      )}
      {current !== undefined && current.tracker_days > 0 && <p class='hint'>{t.trackerRetention(current.tracker_days)}</p>}
      {current?.last && <p class='hint'>{t.lastTime({ jobs: current.last.jobs, size: bytesText(current.last.bytes), when: momentText(current.last.at) })}</p>}
      {asking !== null && (
        <Confirm
          title={t.removeJobsQuestion(asking.due.jobs)} action={t.removeJobsAction(asking.due.jobs)}
          sentence={t.thisPermanentlyDeletesThem({ images: asking.due.images, size: bytesText(asking.due.bytes) })}
          onConfirm={() => purge(asking)} onClose={() => setAsking(null)}
        />
      )}
    </section>
  )
}

/** The typed rules. */
interface Rules {
  readonly retention_days: string
  readonly retention_jobs: string
}

/** The value of a number field; text that is not a number goes to the service, which rejects it. */
function wholeOf (text: string) {
  return (text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text)) as number
}

/** The jobs that the typed rules would delete; null while that is unknown. */
function usePlan ({ retention_days: days, retention_jobs: jobs }: Rules) {
  const [plan, setPlan] = useState<Retention['due'] | null>(null)
  useEffect(() => {
    const stop = new AbortController()
    setPlan(null)
    if (![days, jobs].every(text => /^\d{1,7}$/.test(text))) return
    const timer = setTimeout(() => {
      // Saving shows the errors.
      settings.retention({ days, jobs }, stop.signal).then(({ due }) => setPlan(due), () => {})
    }, 300)
    return () => {
      clearTimeout(timer)
      stop.abort()
    }
  }, [days, jobs])
  return plan
}

function dueText ({ jobs, images, bytes, oldest }: Retention['due'], words: string) {
  if (jobs === 0) return t.nothingDue(words)
  const what = t.jobsWithImages({ jobs: t.jobs(jobs), images: t.images(images), size: bytesText(bytes) })
  return t.due({ what, words, when: momentText(oldest) })
}
