import type { KeyValues } from '../lib/key-form.ts'
import type { Key } from '../lib/api-types.ts'
import type { Form } from '../lib/form.ts'
import type { ComponentChildren } from 'preact'
import { useForm } from '../lib/form.ts'
import { useState } from 'preact/hooks'
import { emptyKey, eventWords, formOfKey, requestOfKey, rights, scopeWords } from '../lib/key-form.ts'
import { aboutServers, useLive } from '../lib/live.ts'
import { say } from '../lib/messages.ts'
import { apiKeys, servers } from '../lib/service.ts'
import { Dialog } from './dialog.tsx'
import { CheckField, FormProblem, NumberField, SelectField, TextField } from './field.tsx'
import { IssuedSecrets, ReplaceSecret } from './issued-secrets.tsx'
import { More } from './more.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/keys.ts'

const answers = [
  { value: 'wait', label: t.waitsForImage }, { value: 'async', label: t.sentAtOnce }
]
const hangUps = [
  { value: 'continue', label: t.jobContinues }, { value: 'cancel', label: t.jobIsCancelled }
]

export function CreateKey ({ onClose, onChanged }: { onClose: () => void, onChanged: () => void }) {
  const form = useForm(emptyKey)
  const [issued, setIssued] = useState<{ key: string, secret: string, webhookSecret?: string } | null>(null)

  async function send (values: KeyValues) {
    const { key, secret, api_key: { webhook_secret: webhookSecret } } = await apiKeys.create(requestOfKey(values, null))
    setIssued({ key, secret, webhookSecret })
    onChanged()
  }

  if (issued !== null) return <IssuedSecrets secrets={secretsOf(issued)} onClose={onClose} />
  return <KeyForm form={form} title={t.newKey} action={t.createKey} limit={t.default} send={send} onClose={onClose} />
}

export function EditKey ({ accessKey, onClose, onChanged }: {
  accessKey: Key
  onClose: () => void
  onChanged: () => void
}) {
  const form = useForm(formOfKey(accessKey))

  async function send (values: KeyValues) {
    await apiKeys.change(accessKey.id, requestOfKey(values, accessKey))
    say(t.wasChanged(values.name))
    onChanged()
    onClose()
  }

  return (
    <KeyForm
      form={form} title={t.changeName(accessKey.name)} action={common.save} limit={t.noLimit}
      send={send} onClose={onClose}
    >
      <CheckField
        label={t.enabled}
        hint={t.enabledHint} {...form.field('is_active')}
      />
    </KeyForm>
  )
}

function KeyForm ({ form, title, action, limit, send, onClose, children }: {
  form: Form<KeyValues>
  title: string
  action: string
  limit: string
  send: (values: KeyValues) => Promise<void>
  onClose: () => void
  children?: ComponentChildren
}) {
  const known = useLive(signal => servers.list(signal), [], { interval: null, about: aboutServers })
  const aliases = known.data?.map(({ alias }) => ({ value: alias, label: alias })) ?? []
  const { problems, values: { rights: right, webhook_url: url } } = form
  return (
    <Dialog key='form' title={title} onClose={onClose}>
      <form ref={form.element} noValidate onSubmit={event => form.submit(event, send)}>
        <FormProblem problem={form.problems['']} />
        <TextField
          label={t.name} hint={t.nameHint} {...form.field('name')}
          autocomplete='off' autofocus
        />
        <TextField label={common.description} {...form.field('description')} autocomplete='off' />
        <SelectField label={t.permissions} {...form.field('rights')} options={rights} />
        {right === 'chosen' && <Choices legend={t.rights} words={scopeWords} {...form.field('scopes')} />}
        <NumberField label={t.requestsAMinuteLabel} placeholder={limit} min='1' {...form.field('rate_limit_per_minute')} />
        <CheckField label={t.inBackground} hint={t.inBackgroundHint} {...form.field('background')} />
        {children}
        <More summary={t.dropInSummary} needed={problems.server !== undefined}>
          <SelectField label={t.theAnswer} {...form.field('answer')} options={answers} />
          <CheckField
            label={t.sendJobIdEarly}
            hint={t.sendJobIdEarlyHint} {...form.field('early_job_id')}
          />
          <SelectField label={t.whenCallerHangsUp} {...form.field('on_hang_up')} options={hangUps} />
          <SelectField
            label={common.server} {...form.field('server')}
            options={[{ value: '', label: t.automatic }, ...aliases]}
          />
        </More>
        <More
          summary={url === '' ? t.webhookOfItsJobs : t.webhookOfItsJobsAt(url)}
          needed={problems.webhook_url !== undefined}
        >
          <TextField
            label={common.address} hint={t.webhookHint}
            placeholder={t.exampleWebhook} {...form.field('webhook_url')} inputmode='url' autocomplete='off' autocapitalize='none'
          />
          {url !== '' && <Choices legend={t.events} words={eventWords} {...form.field('webhook_events')} />}
        </More>
        <div class='dialog-actions'>
          <button type='button' class='button' onClick={onClose}>{common.cancel}</button>
          <button class='button primary' disabled={form.busy}>{action}</button>
        </div>
      </form>
    </Dialog>
  )
}

/** Several options as checkboxes. */
function Choices ({ legend, words, value, onValue, problem }: {
  legend: string
  words: Readonly<Record<string, string>>
  value: readonly string[]
  onValue: (value: string[]) => void
  problem?: string
}) {
  const toggle = (name: string) => onValue(value.includes(name) ? value.filter(one => one !== name) : [...value, name])
  return (
    <fieldset class='choices'>
      <legend class='label'>{legend}</legend>
      {Object.entries(words).map(([name, label]) => (
        <label key={name} class='check'>
          <input type='checkbox' checked={value.includes(name)} onChange={() => toggle(name)} />
          <span>{label} <code class='muted'>{name}</code></span>
        </label>
      ))}
      {problem && <p class='problem'>{problem}</p>}
    </fieldset>
  )
}

export function RotateKey ({ accessKey, onClose, onChanged }: {
  accessKey: Key
  onClose: () => void
  onChanged: () => void
}) {
  async function replace (graceHours: number) {
    const issued = await apiKeys.rotate(accessKey.id, graceHours)
    onChanged()
    return secretsOf(issued)
  }

  return (
    <ReplaceSecret
      title={t.newSecretFor(accessKey.name)} label={t.formerSecretWorks}
      replace={replace} onClose={onClose}
    />
  )
}

/** The settings that a program needs to use its key. */
function secretsOf ({ key, secret, webhookSecret }: { key: string, secret: string, webhookSecret?: string }) {
  return [
    { label: 'X-API-Key', what: t.keyWord, value: key },
    { label: 'X-API-Secret', what: t.secretWord, value: secret },
    ...webhookSecret ? [{ label: t.signsWebhooks, what: t.webhookSecret, value: webhookSecret }] : []
  ]
}
