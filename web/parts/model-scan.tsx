import type { Outcome } from '../lib/messages.ts'
import type { Scan } from '../lib/api-types.ts'
import { ago } from '../lib/format.ts'
import { useEffect, useRef } from 'preact/hooks'
import { aboutScans, seldom, useLive } from '../lib/live.ts'
import { attempt } from '../lib/messages.ts'
import { models } from '../lib/model-service.ts'
import { Icon } from './icon.tsx'
import { t } from '../texts/en/models.ts'

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
    <section class='scan' aria-label={t.modelFolders}>
      <div class='scan-text'>
        <p><strong>{t.modelFolders}</strong> <span class='muted'>{summaryOf(scan)}</span></p>
        {isActive && (
          <div class='progress'>
            {scan.phase === 'hashing'
              ? (
                <><progress aria-label={t.hashing} value={hashed} max={hashed + stats.hashesWaiting} /><span class='numbers'>{t.ofHashed({ hashed, hashed2: hashed + stats.hashesWaiting })}</span></>
                )
              : (
                <><progress aria-label={t.reading} /><span class='numbers'>{t.filesSeen(stats.total)}</span></>
                )}
          </div>
        )}
        {scan.problems.length > 0 && (
          <details>
            <summary>{t.problemsCount(scan.problems.length)}</summary>
            <ul class='problems'>{scan.problems.map(problem => <li key={problem}>{problem}</li>)}</ul>
          </details>
        )}
      </div>
      {isActive
        ? <button type='button' class='button' onClick={() => act(models.stopScan)}><Icon name='stop' />{t.stop}</button>
        : <button type='button' class='button' onClick={() => act(models.scan)}><Icon name='again' />{t.scan}</button>}
    </section>
  )
}

function summaryOf ({ state, message, stats, ended_at: endedAt }: Scan) {
  if (active.includes(state) || state === 'never') return message
  const counts = [
    [stats.added, t.filesNew], [stats.updated, t.filesChanged], [stats.deleted, t.filesGone],
    [stats.hashesCalculated, t.filesHashed], [stats.errors, t.filesUnreadable]
  ] as const
  const parts = counts.filter(([count]) => count > 0).map(([count, words]) => words(count))
  return t.scanSummary({ message: message.replace(/\.$/, ''), when: ago(endedAt ?? null), total: stats.total, parts })
}
