import { ago, plural } from '../lib/format.js'
import { html, useEffect, useRef } from '../lib/html.js'
import { aboutScans, seldom, useLive } from '../lib/live.js'
import { attempt } from '../lib/messages.js'
import { models } from '../lib/model-service.js'
import { Icon } from './icon.js'

const active = ['waiting', 'running']

/** The last scan of the model folders, and a button for the next. */
export function ModelScan ({ onChanged }) {
  const { data: scan, reload } = useLive(signal => models.scanStatus(signal), [], {
    interval: seldom, about: aboutScans
  })
  const isActive = active.includes(scan?.state)
  const wasActive = useRef(false)

  useEffect(() => {
    if (wasActive.current && !isActive) onChanged()
    wasActive.current = isActive
  }, [isActive])

  if (scan === undefined) return null
  const act = async how => {
    await attempt(how)
    reload()
  }
  const { stats } = scan
  const hashed = stats.hashesCalculated + stats.hashErrors
  return html`
    <section class="scan" aria-label="Model folders">
      <div class="scan-text">
        <p><strong>Model folders</strong> <span class="muted">${summaryOf(scan)}</span></p>
        ${isActive && html`
          <div class="progress">
            ${scan.phase === 'hashing'
              ? html`<progress aria-label="Hashing" value=${hashed} max=${hashed + stats.hashesWaiting}></progress><span class="numbers">${hashed} of ${hashed + stats.hashesWaiting} hashed</span>`
              : html`<progress aria-label="Reading"></progress><span class="numbers">${plural(stats.total, 'file')} seen</span>`}
          </div>`}
        ${scan.problems.length > 0 && html`
          <details>
            <summary>${plural(scan.problems.length, 'problem')}</summary>
            <ul class="problems">${scan.problems.map(problem => html`<li key=${problem}>${problem}</li>`)}</ul>
          </details>`}
      </div>
      ${isActive
        ? html`<button type="button" class="button" onClick=${() => act(models.stopScan)}><${Icon} name="stop" />Stop</button>`
        : html`<button type="button" class="button" onClick=${() => act(models.scan)}><${Icon} name="again" />Scan</button>`}
    </section>`
}

function summaryOf ({ state, message, stats, ended_at: endedAt }) {
  if (active.includes(state) || state === 'never') return message
  const parts = [
    [stats.added, 'new'], [stats.updated, 'changed'], [stats.deleted, 'gone'], [stats.hashesCalculated, 'hashed'], [stats.errors, 'unreadable']
  ].filter(([count]) => count > 0).map(([count, word]) => `${count} ${word}`)
  return `${message.replace(/\.$/, '')}, ${ago(endedAt)}: ${plural(stats.total, 'file')}${parts.length > 0 ? `, ${parts.join(', ')}` : ', nothing new'}.`
}
