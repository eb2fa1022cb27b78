import type { Outcome } from '../lib/messages.ts'
import type { Scan } from '../lib/api-types.ts'
import { ago, plural } from '../lib/format.ts'
import { useEffect, useRef } from 'preact/hooks'
import { aboutScans, seldom, useLive } from '../lib/live.ts'
import { attempt } from '../lib/messages.ts'
import { models } from '../lib/model-service.ts'
import { Icon } from './icon.tsx'

const active = ['waiting', 'running']

/** The last scan of the model folders, and a button for the next. */
export function ModelScan ({ onChanged }: { onChanged: () => void }) {
  const { data: scan, reload } = useLive(signal => models.scanStatus(signal), [], {
    interval: seldom, about: aboutScans
  })
  const isActive = active.includes(scan?.state ?? '')
  const wasActive = useRef(false)

  useEffect(() => {
    if (wasActive.current && !isActive) onChanged()
    wasActive.current = isActive
  }, [isActive])

  if (scan === undefined) return null
  const act = async (how: () => Promise<Outcome>) => {
    await attempt(how)
    reload()
  }
  const { stats } = scan
  const hashed = stats.hashesCalculated + stats.hashErrors
  return (
    <section class='scan' aria-label='Model folders'>
      <div class='scan-text'>
        <p><strong>Model folders</strong> <span class='muted'>{summaryOf(scan)}</span></p>
        {isActive && (
          <div class='progress'>
            {scan.phase === 'hashing'
              ? (
                <><progress aria-label='Hashing' value={hashed} max={hashed + stats.hashesWaiting} /><span class='numbers'>{hashed} of {hashed + stats.hashesWaiting} hashed</span></>
                )
              : (
                <><progress aria-label='Reading' /><span class='numbers'>{plural(stats.total, 'file')} seen</span></>
                )}
          </div>
        )}
        {scan.problems.length > 0 && (
          <details>
            <summary>{plural(scan.problems.length, 'problem')}</summary>
            <ul class='problems'>{scan.problems.map(problem => <li key={problem}>{problem}</li>)}</ul>
          </details>
        )}
      </div>
      {isActive
        ? <button type='button' class='button' onClick={() => act(models.stopScan)}><Icon name='stop' />Stop</button>
        : <button type='button' class='button' onClick={() => act(models.scan)}><Icon name='again' />Scan</button>}
    </section>
  )
}

function summaryOf ({ state, message, stats, ended_at: endedAt }: Scan) {
  if (active.includes(state) || state === 'never') return message
  const counts: Array<readonly [number, string]> = [
    [stats.added, 'new'], [stats.updated, 'changed'], [stats.deleted, 'gone'], [stats.hashesCalculated, 'hashed'], [stats.errors, 'unreadable']
  ]
  const parts = counts.filter(([count]) => count > 0).map(([count, word]) => `${count} ${word}`)
  return `${message.replace(/\.$/, '')}, ${ago(endedAt ?? null)}: ${plural(stats.total, 'file')}${parts.length > 0 ? `, ${parts.join(', ')}` : ', nothing new'}.`
}
