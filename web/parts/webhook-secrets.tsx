import type { Key } from '../lib/api-types.ts'
import { useState } from 'preact/hooks'
import { complain } from '../lib/messages.ts'
import { webhooks } from '../lib/webhook-service.ts'
import { CopyButton } from './copy-button.tsx'
import { Icon } from './icon.tsx'
import { ReplaceSecret } from './issued-secrets.tsx'

/** The secrets that sign events; receivers verify with them. */
export function WebhookSecrets ({ keys }: { keys?: readonly Key[] }) {
  const [secret, setSecret] = useState<string | null>(null)
  const [rotating, setRotating] = useState<Key | null>(null)

  async function show () {
    try {
      setSecret(await webhooks.secret())
    } catch (error) {
      complain(error)
    }
  }

  async function replace (key: Key, graceHours: number) {
    const { webhook_secret: value } = await webhooks.rotateSecretOf(key.id, graceHours)
    return [{ label: 'Signs webhooks', what: 'secret', value }]
  }

  return (
    <>
      <section class='card' aria-labelledby='own-secret'>
        <h2 id='own-secret'>Jobs without an access key</h2>
        <p>This secret signs the events of jobs without an access key. It follows from the master key and changes with it.</p>
        {secret === null
          ? <div class='actions'><button type='button' class='button' onClick={show}><Icon name='key' />Show the secret</button></div>
          : (
            <>
              <p class='secret'><code>{secret}</code></p>
              <div class='actions'>
                <CopyButton label='Copy secret' what='The secret was' text={secret} />
                <button type='button' class='button quiet' onClick={() => setSecret(null)}>Hide it</button>
              </div>
            </>
            )}
      </section>
      <section class='card' aria-labelledby='key-secrets'>
        <h2 id='key-secrets'>Jobs of access keys</h2>
        <p>Each key has its own secret, which was shown when you created the key. You can replace it.</p>
        {keys?.length === 0 && <p class='muted'>There is no key yet.</p>}
        <ul class='plain-rows'>
          {keys?.map(key => (
            <li key={key.id}><span>{key.name}</span>
              <button
                type='button' class='button' aria-label={`Replace the secret of ${key.name}`}
                onClick={() => setRotating(key)}
              >Replace
              </button>
            </li>
          ))}
        </ul>
      </section>
      {rotating !== null && (
        <ReplaceSecret
          title={`New secret for events of ${rotating.name}`} label='Events are signed with the former one too'
          replace={hours => replace(rotating, hours)} onClose={() => setRotating(null)}
        />
      )}
    </>
  )
}
