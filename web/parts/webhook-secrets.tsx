import type { Key } from '../lib/api-types.ts'
import { useState } from 'preact/hooks'
import { complain } from '../lib/messages.ts'
import { webhooks } from '../lib/webhook-service.ts'
import { CopyButton } from './copy-button.tsx'
import { Icon } from './icon.tsx'
import { ReplaceSecret } from './issued-secrets.tsx'
import { t } from '../texts/en/webhooks.ts'

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
    return [{ label: t.signsWebhooks, what: 'secret', value }]
  }

  return (
    <>
      <section class='card' aria-labelledby='own-secret'>
        <h2 id='own-secret'>{t.jobsWithoutAccessKey}</h2>
        <p>{t.ownSecretHint}</p>
        {secret === null
          ? <div class='actions'><button type='button' class='button' onClick={show}><Icon name='key' />{t.showSecret}</button></div>
          : (
            <>
              <p class='secret'><code>{secret}</code></p>
              <div class='actions'>
                <CopyButton label={t.copySecret} copied={t.secretCopied} text={secret} />
                <button type='button' class='button quiet' onClick={() => setSecret(null)}>{t.hideIt}</button>
              </div>
            </>
            )}
      </section>
      <section class='card' aria-labelledby='key-secrets'>
        <h2 id='key-secrets'>{t.jobsOfAccessKeys}</h2>
        <p>{t.keySecretsHint}</p>
        {keys?.length === 0 && <p class='muted'>{t.thereIsNoKey}</p>}
        <ul class='plain-rows'>
          {keys?.map(key => (
            <li key={key.id}><span>{key.name}</span>
              <button
                type='button' class='button' aria-label={t.replaceSecretOf(key.name)}
                onClick={() => setRotating(key)}
              >{t.replace}
              </button>
            </li>
          ))}
        </ul>
      </section>
      {rotating !== null && (
        <ReplaceSecret
          title={t.newSecretForEvents(rotating.name)} label={t.eventsAreSignedWith}
          replace={hours => replace(rotating, hours)} onClose={() => setRotating(null)}
        />
      )}
    </>
  )
}
