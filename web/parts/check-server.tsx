import type { CheckReport, CheckView, Server } from '../lib/api-types.ts'
import { downloadText } from '../lib/download.ts'
import { useForm } from '../lib/form.ts'
import { useEffect, useState } from 'preact/hooks'
import { attempt } from '../lib/messages.ts'
import { servers } from '../lib/service.ts'
import { CopyButton } from './copy-button.tsx'
import { Dialog } from './dialog.tsx'
import { FormProblem, NumberField, TextField } from './field.tsx'
import { Icon } from './icon.tsx'
import { Loading } from './page-head.tsx'

/** Interval of requests for a check's progress, in milliseconds. */
const often = 700

const marks = { good: ['Good', 'good'], note: ['Note', 'active'], harm: ['Problem', 'bad'], unknown: ['Not found out', 'still'] }
const stepWords = { waiting: '', running: 'now…', done: 'done', not_found_out: 'not found out', skipped: 'skipped' }
const stateWords: Readonly<Record<string, string>> = {
  asked: 'Waiting for the worker…',
  waiting: 'Waiting for the running job to finish…',
  running: 'The check is running. The server\'s queue waits meanwhile.',
  putting_back: 'Restoring the settings…'
}
const outcomeWords: Readonly<Record<string, string>> = {
  cancelled: 'The check was cancelled.', could_not_run: 'The check could not run.', broken_off: 'The check stopped early.'
}

/** A thorough check of a server: its purpose, progress and report. */
export function CheckServer ({ server: { alias }, onClose, onChanged }: {
  server: Server
  onClose: () => void
  onChanged: () => void
}) {
  const [view, setView] = useState<{ data: CheckView | undefined, error: unknown }>({ data: undefined, error: null })
  const [asks, setAsks] = useState(false)

  useEffect(() => {
    const stop = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    async function look () {
      try {
        const data = await servers.readCheck(alias, stop.signal)
        if (!stop.signal.aborted) setView({ data, error: null })
      } catch (error) {
        if (!stop.signal.aborted) setView(before => ({ ...before, error }))
      }
      if (!stop.signal.aborted) timer = setTimeout(look, often)
    }
    look()
    return () => {
      stop.abort()
      clearTimeout(timer)
    }
  }, [alias])

  const { check, report, text } = view.data ?? {}
  const runs = check != null && check.state !== 'ended'
  useEffect(() => { if (check?.state === 'ended') onChanged() }, [check?.id, check?.state])
  const begun = (data: CheckView) => {
    setAsks(false)
    setView({ data, error: null })
    onChanged()
  }

  return (
    <Dialog title={`Check ${alias} thoroughly`} wide onClose={onClose}>
      {view.data === undefined && <Loading error={view.error} />}
      {view.data !== undefined && runs && check && <Running alias={alias} check={check} />}
      {view.data !== undefined && !runs && (!report || asks) && <StartCheck
        alias={alias}
        onBegun={begun} onClose={onClose}
                                                                />}
      {view.data !== undefined && !runs && report && !asks && <Report
        report={report}
        text={text ?? ''} onAgain={() => setAsks(true)}
                                                              />}
    </Dialog>
  )
}

function StartCheck ({ alias, onBegun, onClose }: {
  alias: string
  onBegun: (view: CheckView) => void
  onClose: () => void
}) {
  const form = useForm({ checkpoint: '', minutes: '' })

  async function send ({ checkpoint, minutes }: { checkpoint: string, minutes: string }) {
    onBegun(await servers.check(alias, {
      ...(checkpoint.trim() === '' ? {} : { checkpoint: checkpoint.trim() }),
      ...(minutes === '' ? {} : { minutes: Number(minutes) })
    }))
  }

  return (
    <form ref={form.element} noValidate onSubmit={event => form.submit(event, send)}>
      <FormProblem problem={form.problems['']} />
      <p>About a dozen tiny images find out whether the server restores settings, stops when interrupted, and the limits of a proxy in front of it. Its queue waits meanwhile, and everything is restored.</p>
      <details>
        <summary>Further checks</summary>
        <div class='fields'>
          <TextField
            label='Another checkpoint'
            hint='Loaded once, to see whether the selected one stays selected.' {...form.field('checkpoint')} autocomplete='off' spellcheck={false}
          />
          <NumberField
            label='Minutes'
            hint='Length of one longer generation, to see whether a proxy waits for it.' {...form.field('minutes')} min='0' max='30' step='any'
          />
        </div>
      </details>
      <div class='dialog-actions'>
        <button type='button' class='button' onClick={onClose}>Close</button>
        <button class='button primary' disabled={form.busy}>Start the check</button>
      </div>
    </form>
  )
}

function Running ({ alias, check }: { alias: string, check: NonNullable<CheckView['check']> }) {
  const [cancels, setCancels] = useState(false)

  async function cancel () {
    setCancels(true)
    await attempt(() => servers.cancelCheck(alias))
  }

  return (
    <>
      <p role='status'>{cancels ? 'Cancelling; restoring the settings…' : stateWords[check.state]}</p>
      <ol class='check-steps'>
        {check.steps.map(({ name, title, state, duration_ms: ms }) => (
          <li key={name} class={state} aria-current={state === 'running' ? 'step' : undefined}>
            <span>{title}</span>
            <span class='hint'>{stepWords[state]}{ms === null ? '' : ` · ${ms} ms`}</span>
          </li>
        ))}
      </ol>
      <div class='dialog-actions'>
        <button type='button' class='button' disabled={cancels} onClick={cancel}><Icon name='stop' />Cancel the check</button>
      </div>
    </>
  )
}

function Report ({ report, text, onAgain }: { report: CheckReport, text: string, onAgain: () => void }) {
  const { outcome, reason, findings, server, duration_ms: ms, generations, put_back: putBack } = report
  const save = () => downloadText(`stablequeue-check-${report.started_at.slice(0, 19).replaceAll(':', '-')}.json`, JSON.stringify(report, null, 2))
  return (
    <>
      {outcome !== 'finished' && <p class='notice warning-notice'>{outcomeWords[outcome]} {reason}</p>}
      {(putBack === 'pending' || putBack === 'failed') && (
        <p class='notice problem-notice'>{putBack === 'pending'
          ? 'Changed settings are restored as soon as the server answers.'
          : 'Some settings could not be restored; check the settings of the server.'}
        </p>
      )}
      <p class='hint'>{[server.kind, server.version].filter(Boolean).join(' ')} · {(ms / 1000).toFixed(1)} s · {generations.made} of at most {generations.at_most} generations · {new Date(report.started_at).toLocaleString()}</p>
      <ul class='findings' tabindex={0} aria-label='Findings'>
        {findings.map(({ topic, level, sentence, remedy }, index) => (
          <li key={`${topic} ${index}`}>
            <span class={`status ${marks[level][1]}`}>{marks[level][0]}</span>
            <div><p>{sentence}</p>{remedy && <p class='hint'>{remedy}</p>}</div>
          </li>
        ))}
      </ul>
      <div class='dialog-actions'>
        <button type='button' class='button' onClick={onAgain}><Icon name='again' />Check again</button>
        <CopyButton label='Copy report' what='Report' text={text} />
        <button type='button' class='button' onClick={save}><Icon name='download' />Download JSON</button>
      </div>
    </>
  )
}
