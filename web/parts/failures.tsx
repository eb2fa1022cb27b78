import type { FailureCause } from '../lib/api-types.ts'
import { adviceFor } from '../lib/advice.ts'
import { ApiError } from '../lib/api.ts'
import { ago } from '../lib/format.ts'
import { useState } from 'preact/hooks'
import { useRights } from '../lib/caller.ts'
import { aboutJobs, useLive } from '../lib/live.ts'
import { complain, say } from '../lib/messages.ts'
import { readFailures } from '../lib/queue-service.ts'
import { jobs } from '../lib/service.ts'
import { Icon } from './icon.tsx'
import { t } from '../texts/en/queue.ts'

/** Failed jobs by cause, each with a button that retries exactly those. @param props server: empty for all */
export function FailureCauses ({ server, onChanged }: { server: string, onChanged: () => void }) {
  const { data, reload } = useLive(signal => readFailures(server, signal), [server], { about: aboutJobs })
  const [busy, setBusy] = useState(false)
  const rights = useRights()
  if (data === undefined || data.total === 0) return null
  const { causes, total, as_of: before } = data

  async function retry (filter: FailureCause['filter'], expected: number) {
    setBusy(true)
    try {
      say((await jobs.act({ action: 'retry', filter, expected, created_before: before })).message)
    } catch (error) {
      complain(error instanceof ApiError && error.code === 'more_than_expected'
        ? new Error(t.moreJobsHaveFailedMeanwhile)
        : error)
    }
    setBusy(false)
    reload()
    onChanged()
  }

  const button = (label: string, filter: FailureCause['filter'], count: number, name?: string) => rights.submit_jobs && (
    <button type='button' class='button' disabled={busy} aria-label={name} onClick={() => retry(filter, count)}>
      <Icon name='again' />{label}
    </button>
  )

  return (
    <section class='card causes' aria-labelledby='causes'>
      <div class='card-head'>
        <h2 id='causes'>{t.failedJobsByCause(total)}</h2>
        {causes.length > 1 && button(t.retryAllFailed(total), { status: 'failed', ...server === '' ? {} : { server } }, total)}
      </div>
      <ul class='plain-rows'>
        {causes.map(({ code, count, message, job_id: id, failed_at: at, filter }) => (
          <li key={code}>
            <div>
              <p><strong class='numbers'>{count}</strong> × <code>{code}</code> <span class='muted'>{t.theLast(<a href={`#/job/${id}`}>{ago(at)}</a>)}</span></p>
              <p class='problem'>{message}</p>
              {adviceFor(code) && <p class='hint'>{adviceFor(code)}</p>}
            </div>
            {causes.length === 1
              ? button(t.retryAllFailed(count), filter, count)
              : button(t.retryCount(count), filter, count, t.retryCountCode({ count, code }))}
          </li>
        ))}
      </ul>
    </section>
  )
}
