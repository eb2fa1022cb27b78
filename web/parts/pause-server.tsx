import type { Server } from '../lib/api-types.ts'
import { useForm } from '../lib/form.ts'

import { say } from '../lib/messages.ts'
import { servers } from '../lib/service.ts'
import { Dialog } from './dialog.tsx'
import { FormProblem, TextField } from './field.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/queue.ts'

/** Pauses the queue of a server, with a reason for users whose jobs wait. */
export function PauseServer ({ server: { alias }, onClose, onPaused }: {
  server: Server
  onClose: () => void
  onPaused: () => void
}) {
  const form = useForm({ reason: '' })

  async function send ({ reason }: { reason: string }) {
    const { message } = await servers.pause(alias, reason)
    say(message)
    onPaused()
  }

  return (
    <Dialog title={t.pauseAlias(alias)} onClose={onClose}>
      <form ref={form.element} noValidate onSubmit={event => form.submit(event, send)}>
        <FormProblem problem={form.problems['']} />
        <p>{t.runningJobContinuesNo}</p>
        <TextField
          label={t.reasonOptional} placeholder={t.driverUpdate} {...form.field('reason')}
          maxlength={300} autocomplete='off' autofocus
        />
        <div class='dialog-actions'>
          <button type='button' class='button' onClick={onClose}>{common.cancel}</button>
          <button class='button primary' disabled={form.busy}>{t.pause}</button>
        </div>
      </form>
    </Dialog>
  )
}
