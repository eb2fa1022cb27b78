import type { Server } from '../lib/api-types.ts'
import { useForm } from '../lib/form.ts'

import { say } from '../lib/messages.ts'
import { servers } from '../lib/service.ts'
import { Dialog } from './dialog.tsx'
import { FormProblem, NumberField, SelectField, TextField } from './field.tsx'
import { accessFields, noAccess, ServerAccess } from './server-access.tsx'

const selections = [
  { value: 'when idle', label: 'Once no job waits' },
  { value: 'always', label: 'After each job' },
  { value: 'never', label: 'Never' }
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
    say(`${message} ${found.reachable ? 'It answers.' : `It cannot be used: ${found.message}`}`)
    onChanged()
    onClose()
  }

  return (
    <Dialog title={`Change ${server.alias}`} onClose={onClose}>
      <form ref={form.element} noValidate onSubmit={event => form.submit(event, send)}>
        <FormProblem problem={form.problems['']} />
        <TextField label='Name' {...form.field('alias')} autocomplete='off' />
        <TextField
          label='Address' {...form.field('apiUrl')} inputmode='url' autocomplete='off'
          autocapitalize='none' spellcheck={false}
        />
        <TextField label='Description' {...form.field('description')} autocomplete='off' />
        <NumberField
          label='Longest generation, in seconds' placeholder='as JOB_TIMEOUT_SECONDS'
          min='1' max='86400' {...form.field('job_timeout_seconds')}
        />
        <SelectField
          label='Select its own checkpoint again after jobs with others'
          options={selections} {...form.field('restore_selection')}
        />
        <ServerAccess form={form} server={server} />
        <div class='dialog-actions'>
          <button type='button' class='button' onClick={onClose}>Cancel</button>
          <button class='button primary' disabled={form.busy}>{form.busy ? 'Testing…' : 'Save and test'}</button>
        </div>
      </form>
    </Dialog>
  )
}
