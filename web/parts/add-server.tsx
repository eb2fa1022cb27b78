import type { Access } from './server-access.tsx'
import { useForm } from '../lib/form.ts'
import { useState } from 'preact/hooks'
import { attempt, say } from '../lib/messages.ts'
import { servers } from '../lib/service.ts'
import { Dialog } from './dialog.tsx'
import { FormProblem, TextField } from './field.tsx'
import { accessFields, noAccess, ServerAccess } from './server-access.tsx'

/** Adds a server and checks it at once; asks before it keeps a server that does not answer. */
export function AddServer ({ onClose, onChanged }: { onClose: () => void, onChanged: () => void }) {
  const form = useForm({ alias: '', apiUrl: '', ...noAccess })
  const [silent, setSilent] = useState<{ alias: string, message: string } | null>(null)

  async function send ({ alias, apiUrl, ...access }: { alias: string, apiUrl: string } & Access) {
    const address = apiUrl.trim()
    const { server } = await servers.add({
      alias: alias.trim(),
      apiUrl: address.includes('://') || address === '' ? address : `http://${address}`,
      ...accessFields(access)
    })
    const found = await servers.test(server.alias)
    onChanged()
    if (found.reachable) {
      say(`${server.alias} was added: ${found.message}`)
      onClose()
    } else {
      setSilent({ alias: server.alias, message: found.message })
    }
  }

  async function discardServer (alias: string) {
    if (!await attempt(() => servers.remove(alias))) return
    setSilent(null)
    onChanged()
  }

  if (silent !== null) {
    return (
      <Dialog key='silent' title={`${silent.alias} cannot be used yet`} onClose={onClose}>
        <p class='notice problem-notice' role='alert'>{silent.message}</p>
        <p>It can stay in the list: it is checked regularly, and its jobs wait until it answers.</p>
        <div class='dialog-actions'>
          <button type='button' class='button' onClick={() => discardServer(silent.alias)}>Change the entries</button>
          <button type='button' class='button primary' onClick={onClose}>Keep it</button>
        </div>
      </Dialog>
    )
  }
  return (
    <Dialog key='form' title='Add a server' onClose={onClose}>
      <form ref={form.element} noValidate onSubmit={event => form.submit(event, send)}>
        <FormProblem problem={form.problems['']} />
        <TextField
          label='Name' hint='Its name for you and your clients.' {...form.field('alias')}
          autocomplete='off' autofocus
        />
        <TextField
          label='Address' hint='Of A1111 or Forge, started with --api.' placeholder='http://192.168.1.20:7860'
          {...form.field('apiUrl')} inputmode='url' autocomplete='off' autocapitalize='none' spellcheck={false}
        />
        <ServerAccess form={form} />
        <div class='dialog-actions'>
          <button type='button' class='button' onClick={onClose}>Cancel</button>
          <button class='button primary' disabled={form.busy}>{form.busy ? 'Testing…' : 'Add and test'}</button>
        </div>
      </form>
    </Dialog>
  )
}
