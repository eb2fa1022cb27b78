import { plural } from '../lib/format.js'
import { html, useState } from '../lib/html.js'
import { attempt, say } from '../lib/messages.js'
import { jobs } from '../lib/service.js'
import { Confirm } from './dialog.js'
import { Icon } from './icon.js'
import { MoveJobs } from './move-jobs.js'

/** What can be done with many jobs, by the state that all of them are in; an empty state means any. */
const actionsOf = {
  '': ['cancel', 'retry', 'delete'],
  pending: ['run-now', 'move', 'cancel', 'delete'],
  processing: ['cancel'],
  completed: ['delete'],
  failed: ['retry', 'delete'],
  cancelled: ['retry', 'delete']
}

const actions = {
  'run-now': { label: 'Run now', icon: 'bolt' },
  move: { label: 'Move', icon: 'server' },
  cancel: { label: 'Cancel', icon: 'stop', question: count => `Cancel ${count}?`, sentence: 'Those that run are stopped at their server.' },
  retry: { label: 'Retry', icon: 'again' },
  delete: { label: 'Delete', icon: 'bin', question: count => `Delete ${count}?`, sentence: 'The jobs and their images go for good.' }
}

/** What to do with the jobs that are chosen. */
export function SelectionBar ({ selection, total, filter, onDone }) {
  const [asking, setAsking] = useState('')
  const [busy, setBusy] = useState(false)
  const count = selection.all ? total : selection.ids.size
  if (count === 0) return null
  const words = plural(count, 'job')

  function which () {
    const { status, server, search } = filter
    const fitting = Object.fromEntries(Object.entries({ status, server, search }).filter(([, value]) => value !== ''))
    return selection.all ? { filter: fitting } : { ids: [...selection.ids] }
  }

  function finish () {
    selection.clear()
    onDone()
  }

  async function act (action) {
    setAsking('')
    setBusy(true)
    const done = await attempt(() => jobs.act({ action, ...which() }))
    setBusy(false)
    if (done) finish()
  }

  async function move (server) {
    say((await jobs.act({ action: 'move', server, ...which() })).message)
    finish()
  }

  const asks = action => action === 'move' || actions[action].question !== undefined
  const question = asking === '' || asking === 'move' ? undefined : actions[asking]
  return html`
    <div class="selection" role="region" aria-label="Chosen jobs">
      <p><strong class="numbers">${words}</strong> chosen</p>
      <div class="actions">
        ${!selection.all && total > selection.ids.size && html`
          <button type="button" class="button quiet" onClick=${selection.chooseAll}>Choose all ${total}</button>`}
        ${actionsOf[filter.status].map(action => html`
          <button key=${action} type="button" class="button" disabled=${busy}
            onClick=${() => asks(action) ? setAsking(action) : act(action)}>
            <${Icon} name=${actions[action].icon} />${actions[action].label}
          </button>`)}
        <button type="button" class="button quiet icon-only" aria-label="Choose none" title="Choose none" onClick=${selection.clear}>
          <${Icon} name="close" />
        </button>
      </div>
      ${asking === 'move' && html`
        <${MoveJobs} words=${words} from=${filter.server} move=${move} onClose=${() => setAsking('')} />`}
      ${question && html`
        <${Confirm} title=${question.question(words)} sentence=${question.sentence} action=${`${question.label} ${words}`}
          onConfirm=${() => act(asking)} onClose=${() => setAsking('')} />`}
    </div>`
}
