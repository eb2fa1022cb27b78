import type { Server } from '../lib/api-types.ts'
import { useForm } from '../lib/form.ts'

import { say } from '../lib/messages.ts'
import { servers } from '../lib/service.ts'
import { Dialog } from './dialog.tsx'
import { FormProblem, NumberField, SelectField, TextField } from './field.tsx'
import { accessFields, noAccess, ServerAccess } from './server-access.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/servers.ts'

const selections = [
  { value: t.whenIdle, label: t.onceNoJobWaits },
  { value: 'always', label: t.afterEachJob },
  { value: 'never', label: t.never }
]

/** Edits a server. Sends passwords, tokens and certificates only if the user types them again. */
export function EditServer ({ server, onClose, onChanged }: {
  server: Server
  onClose: () => void
  onChanged: () => void
}) {
  const form = useForm({
    alias: server.alias,
    apiUrl: server.apiUrl,
    description: server.description ?? '',
    job_timeout_seconds: server.job_timeout_seconds === null ? '' : String(server.job_timeout_seconds),
    restore_selection: server.restore_selection as string,
    ...noAccess,
    anyCertificate: !server.tls_verify
  })

  async function send (values: typeof form.values) {
    const { alias, apiUrl, description, job_timeout_seconds: timeout, restore_selection: selection, ...access } = values
    const { message } = await servers.change(server.alias, {
      alias,
      apiUrl,
      description,
      job_timeout_seconds: timeout === '' ? null : Number(timeout),
      restore_selection: selection as Server['restore_selection'],
      // A new address discards the stored secrets.
      ...accessFields(access, apiUrl.trim() === server.apiUrl ? server : { ...server, tls_verify: true })
    })
    const found = await servers.test(form.values.alias.trim())
    say(found.reachable ? t.itAnswersNow(message) : t.itCannotBeUsedYet({ message, problem: found.message }))
    onChanged()
    onClose()
  }

  return (
    <Dialog title={t.changeAlias(server.alias)} onClose={onClose}>
      <form ref={form.element} noValidate onSubmit={event => form.submit(event, send)}>
        <FormProblem problem={form.problems['']} />
        <TextField label={t.name} {...form.field('alias')} autocomplete='off' />
        <TextField
          label={common.address} {...form.field('apiUrl')} inputmode='url' autocomplete='off'
          autocapitalize='none' spellcheck={false}
        />
        <TextField label={common.description} {...form.field('description')} autocomplete='off' />
        <NumberField
          label={t.longestGenerationInSeconds} placeholder={t.asJobTimeoutSeconds}
          min='1' max='86400' {...form.field('job_timeout_seconds')}
        />
        <SelectField
          label={t.selectItsOwnCheckpoint}
          options={selections} {...form.field('restore_selection')}
        />
        <ServerAccess form={form} server={server} />
        <div class='dialog-actions'>
          <button type='button' class='button' onClick={onClose}>{common.cancel}</button>
          <button class='button primary' disabled={form.busy}>{form.busy ? t.testing : t.saveAndTest}</button>
        </div>
      </form>
    </Dialog>
  )
}
