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

const answers = [
  { value: 'wait', label: 'Waits for the image, as A1111 does' }, { value: 'async', label: 'Is sent at once, with a job id' }
]
const hangUps = [
  { value: 'continue', label: 'continues; its images can be fetched later' }, { value: 'cancel', label: 'is cancelled' }
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
  return <KeyForm form={form} title='New key' action='Create key' limit='default' send={send} onClose={onClose} />
}

export function EditKey ({ accessKey, onClose, onChanged }: {
  accessKey: Key
  onClose: () => void
  onChanged: () => void
}) {
  const form = useForm(formOfKey(accessKey))

  async function send (values: KeyValues) {
    await apiKeys.change(accessKey.id, requestOfKey(values, accessKey))
    say(`${values.name} was changed.`)
    onChanged()
    onClose()
  }

  return (
    <KeyForm
      form={form} title={`Change ${accessKey.name}`} action='Save' limit='no limit'
      send={send} onClose={onClose}
    >
      <CheckField
        label='Enabled'
        hint='If off, requests with this key are rejected until it is on again.' {...form.field('is_active')}
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
          label='Name' hint='The program that will use it.' {...form.field('name')}
          autocomplete='off' autofocus
        />
        <TextField label='Description' {...form.field('description')} autocomplete='off' />
        <SelectField label='Permissions' {...form.field('rights')} options={rights} />
        {right === 'chosen' && <Choices legend='Rights' words={scopeWords} {...form.field('scopes')} />}
        <NumberField label='Requests a minute' placeholder={limit} min='1' {...form.field('rate_limit_per_minute')} />
        {children}
        <More summary='As a drop-in for A1111 (/sdapi/v1)' needed={problems.server !== undefined}>
          <SelectField label='The answer' {...form.field('answer')} options={answers} />
          <CheckField
            label='Send the job id early'
            hint='Status and X-Job-ID come as soon as a job is accepted; a failure then aborts the transfer.' {...form.field('early_job_id')}
          />
          <SelectField label='When the caller hangs up, the job' {...form.field('on_hang_up')} options={hangUps} />
          <SelectField
            label='Server' {...form.field('server')}
            options={[{ value: '', label: 'Automatic' }, ...aliases]}
          />
        </More>
        <More
          summary={`Webhook of its jobs${url === '' ? '' : `: ${url}`}`}
          needed={problems.webhook_url !== undefined}
        >
          <TextField
            label='Address' hint='Receives the events of its jobs unless a job names another address. A query is stored, but not shown again.'
            placeholder='https://example.org/hook' {...form.field('webhook_url')} inputmode='url' autocomplete='off' autocapitalize='none'
          />
          {url !== '' && <Choices legend='Events' words={eventWords} {...form.field('webhook_events')} />}
        </More>
        <div class='dialog-actions'>
          <button type='button' class='button' onClick={onClose}>Cancel</button>
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
      title={`New secret for ${accessKey.name}`} label='The former secret works'
      replace={replace} onClose={onClose}
    />
  )
}

/** The settings that a program needs to use its key. */
function secretsOf ({ key, secret, webhookSecret }: { key: string, secret: string, webhookSecret?: string }) {
  return [
    { label: 'X-API-Key', what: 'key', value: key },
    { label: 'X-API-Secret', what: 'secret', value: secret },
    ...webhookSecret ? [{ label: 'Signs webhooks', what: 'webhook secret', value: webhookSecret }] : []
  ]
}
