import { ApiError } from '../lib/api.ts'
import type { Server } from '../lib/api-types.ts'
import type { Form } from '../lib/form.ts'
import { useForm } from '../lib/form.ts'
import { useState } from 'preact/hooks'
import { say } from '../lib/messages.ts'
import { servers } from '../lib/service.ts'
import { Dialog } from './dialog.tsx'
import { FormProblem, SelectField } from './field.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/servers.ts'

/** Removes a server; asks what to do with its jobs, if it has any. */
export function RemoveServer ({ server, others, onClose, onRemoved }: {
  server: Server
  others: readonly Server[]
  onClose: () => void
  onRemoved: () => void
}) {
  const form = useForm({ jobs: others.length > 0 ? 'move' : 'cancel', to: others[0]?.alias ?? '' })
  const [count, setCount] = useState(server.waiting + server.processing)

  async function send ({ jobs, to }: { jobs: string, to: string }) {
    try {
      const choice = jobs === 'move' ? { jobs, to, expected: count } : { jobs, expected: count }
      const { message } = await servers.remove(server.alias, count === 0 ? {} : choice)
      say(message)
      onRemoved()
    } catch (error) {
      const { code = '', details = {} }: Partial<ApiError> = error instanceof ApiError ? error : {}
      if (code === 'server_has_jobs' && count === 0) setCount(Number(details.waiting) + Number(details.running))
      else if (code === 'more_than_expected') setCount(Number(details.count))
      else throw error
    }
  }

  return (
    <Dialog title={t.deleteQuestion(server.alias)} onClose={onClose}>
      <form ref={form.element} noValidate onSubmit={event => form.submit(event, send)}>
        <FormProblem problem={form.problems['']} />
        {count === 0 ? <p>{t.noJobWaitsFor}</p> : <JobsChoice form={form} count={count} others={others} />}
        <p class='hint'>{t.finishedJobsStayWith}</p>
        <div class='dialog-actions'>
          <button type='button' class='button' onClick={onClose}>{common.keepIt}</button>
          <button class='button danger' disabled={form.busy}>{t.deleteServer}</button>
        </div>
      </form>
    </Dialog>
  )
}

function JobsChoice ({ form, count, others }: {
  form: Form<{ jobs: string, to: string }>
  count: number
  others: readonly Server[]
}) {
  const jobs = t.jobsCount(count)
  if (others.length === 0) return <p role='status'>{t.itsWillBeCancelled(jobs)}</p>
  const choice = (value: string, label: string) => (
    <label class='check'>
      <input
        type='radio' name='jobs' value={value} checked={form.values.jobs === value}
        onChange={() => form.setValues({ ...form.values, jobs: value })}
      />{label}
    </label>
  )
  return (
    <fieldset>
      <legend>{t.itHas(jobs)}</legend>
      {choice('move', t.moveWaitingJobsTo)}
      {form.values.jobs === 'move' && (
        <SelectField
          label={t.newServer} {...form.field('to')}
          options={others.map(({ alias }) => ({ value: alias, label: alias }))}
        />
      )}
      {choice('cancel', t.cancelThem)}
    </fieldset>
  )
}
