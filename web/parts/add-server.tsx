import type { Access } from './server-access.tsx'
import { useForm } from '../lib/form.ts'
import { useState } from 'preact/hooks'
import { attempt, say } from '../lib/messages.ts'
import { servers } from '../lib/service.ts'
import { Dialog } from './dialog.tsx'
import { FormProblem, TextField } from './field.tsx'
import { accessFields, noAccess, ServerAccess } from './server-access.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/servers.ts'

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
      say(t.wasAdded({ alias: server.alias, message: found.message }))
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
      <Dialog key='silent' title={t.cannotBeUsedYet(silent.alias)} onClose={onClose}>
        <p class='notice problem-notice' role='alert'>{silent.message}</p>
        <p>{t.silentHint}</p>
        <div class='dialog-actions'>
          <button type='button' class='button' onClick={() => discardServer(silent.alias)}>{t.changeEntries}</button>
          <button type='button' class='button primary' onClick={onClose}>{common.keepIt}</button>
        </div>
      </Dialog>
    )
  }
  return (
    <Dialog key='form' title={t.addServer} onClose={onClose}>
      <form ref={form.element} noValidate onSubmit={event => form.submit(event, send)}>
        <FormProblem problem={form.problems['']} />
        <TextField
          label={t.name} hint={t.nameHint} {...form.field('alias')}
          autocomplete='off' autofocus
        />
        <TextField
          label={common.address} hint={t.addressHint} placeholder={t.exampleAddress}
          {...form.field('apiUrl')} inputmode='url' autocomplete='off' autocapitalize='none' spellcheck={false}
        />
        <ServerAccess form={form} />
        <div class='dialog-actions'>
          <button type='button' class='button' onClick={onClose}>{common.cancel}</button>
          <button class='button primary' disabled={form.busy}>{form.busy ? t.testing : t.addAndTest}</button>
        </div>
      </form>
    </Dialog>
  )
}
