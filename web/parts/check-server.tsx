import { momentText } from '../lib/format.ts'
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
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/servers.ts'

/** Interval of requests for a check's progress, in milliseconds. */
const often = 700

const marks = { good: [t.good, 'good'], note: [t.note, 'active'], harm: [t.problem, 'bad'], unknown: [t.notFoundOut, 'still'] }
const stepWords = { waiting: '', running: t.now, done: t.done, not_found_out: t.notFoundOutWord, skipped: t.skipped }
const stateWords: Readonly<Record<string, string>> = {
  asked: t.waitingForWorker,
  waiting: t.waitingForRunningJob,
  running: t.checkIsRunningServers,
  putting_back: t.restoringSettings
}
const outcomeWords: Readonly<Record<string, string>> = {
  cancelled: t.checkWasCancelled, could_not_run: t.checkCouldNotRun, broken_off: t.checkStoppedEarly
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
    <Dialog title={t.checkThoroughly(alias)} wide onClose={onClose}>
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
      <p>{t.checkPurpose}</p>
      <details>
        <summary>{t.furtherChecks}</summary>
        <div class='fields'>
          <TextField
            label={t.anotherCheckpoint}
            hint={t.anotherCheckpointHint} {...form.field('checkpoint')} autocomplete='off' spellcheck={false}
          />
          <NumberField
            label={t.minutes}
            hint={t.minutesHint} {...form.field('minutes')} min='0' max='30' step='any'
          />
        </div>
      </details>
      <div class='dialog-actions'>
        <button type='button' class='button' onClick={onClose}>{common.close}</button>
        <button class='button primary' disabled={form.busy}>{t.startCheck}</button>
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
      <p role='status'>{cancels ? t.cancellingRestoringSettings : stateWords[check.state]}</p>
      <ol class='check-steps'>
        {check.steps.map(({ name, title, state, duration_ms: ms }) => (
          <li key={name} class={state} aria-current={state === 'running' ? 'step' : undefined}>
            <span>{title}</span>
            <span class='hint'>{stepWords[state]}{ms === null ? '' : t.tookMs(ms)}</span>
          </li>
        ))}
      </ol>
      <div class='dialog-actions'>
        <button type='button' class='button' disabled={cancels} onClick={cancel}><Icon name='stop' />{t.cancelCheck}</button>
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
          ? t.changedSettingsAreRestored
          : t.someSettingsCouldNot}
        </p>
      )}
      <p class='hint'>{t.checkFacts({
        server: [server.kind, server.version].filter(Boolean).join(' '),
        seconds: ms / 1000,
        made: generations.made,
        atMost: generations.at_most,
        when: momentText(report.started_at)
      })}
      </p>
      <ul class='findings' tabindex={0} aria-label={t.findings}>
        {findings.map(({ topic, level, sentence, remedy }, index) => (
          <li key={`${topic} ${index}`}>
            <span class={`status ${marks[level][1]}`}>{marks[level][0]}</span>
            <div><p>{sentence}</p>{remedy && <p class='hint'>{remedy}</p>}</div>
          </li>
        ))}
      </ul>
      <div class='dialog-actions'>
        <button type='button' class='button' onClick={onAgain}><Icon name='again' />{t.checkAgain}</button>
        <CopyButton label={t.copyReport} copied={t.reportCopied} text={text} />
        <button type='button' class='button' onClick={save}><Icon name='download' />{t.downloadJson}</button>
      </div>
    </>
  )
}
