import { useForm } from '../lib/form.ts'
import { useState } from 'preact/hooks'
import { CopyButton } from './copy-button.tsx'
import { Dialog } from './dialog.tsx'
import { FormProblem, SelectField } from './field.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/keys.ts'

const gracePeriods = [
  { value: '24', label: t.for24Hours }, { value: '168', label: t.for7Days }, { value: '0', label: t.noLonger }
]

/** A secret with its name for programs, and the name for people. */
export interface Secret {
  readonly label: string
  readonly what: string
  readonly value: string
}

/**
 * Shows new secrets, for the only time.
 * @param props label is the
 *   name for programs, what the name for people
 */
export function IssuedSecrets ({ secrets, onClose }: { secrets: readonly Secret[], onClose: () => void }) {
  return (
    <Dialog key='issued' title={t.saveThisSecretNow} onClose={onClose}>
      <p>{t.shownOnlyHere}</p>
      <dl class='facts-list secret'>
        {secrets.map(({ label, value }) => <div key={label}><dt>{label}</dt><dd><code>{value}</code></dd></div>)}
      </dl>
      <div class='dialog-actions'>
        {secrets.map(({ what, value }) => <CopyButton
          key={what} label={t.copyWhat(what)}
          copied={t.whatWasCopied(what)} text={value}
                                          />)}
        <button type='button' class='button primary' onClick={onClose}>{t.iHaveSavedIt}</button>
      </div>
    </Dialog>
  )
}

/**
 * Replaces a secret and shows the new one; the former one stays valid for a while.
 * @param props label: text beside that time; replace returns the secrets to show
 */
export function ReplaceSecret ({ title, label, replace, onClose }: {
  title: string
  label: string
  replace: (graceHours: number) => Promise<readonly Secret[]>
  onClose: () => void
}) {
  const form = useForm({ grace_hours: '24' })
  const [issued, setIssued] = useState<readonly Secret[] | null>(null)
  if (issued !== null) return <IssuedSecrets secrets={issued} onClose={onClose} />
  const send = async ({ grace_hours: hours }: { grace_hours: string }) => setIssued(await replace(Number(hours)))
  return (
    <Dialog key='form' title={title} onClose={onClose}>
      <form ref={form.element} noValidate onSubmit={event => form.submit(event, send)}>
        <FormProblem problem={form.problems['']} />
        <SelectField label={label} {...form.field('grace_hours')} options={gracePeriods} />
        <div class='dialog-actions'>
          <button type='button' class='button' onClick={onClose}>{common.cancel}</button>
          <button class='button primary' disabled={form.busy}>{t.createNewSecret}</button>
        </div>
      </form>
    </Dialog>
  )
}
