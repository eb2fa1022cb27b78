import type { Key } from '../lib/api-types.ts'
import { ago, momentText, plural } from '../lib/format.ts'
import { useState } from 'preact/hooks'
import { seldom, useLive } from '../lib/live.ts'
import { attempt } from '../lib/messages.ts'
import { apiKeys } from '../lib/service.ts'
import { dropInText, rightsText } from '../lib/key-form.ts'
import { Confirm } from '../parts/dialog.tsx'
import { Icon } from '../parts/icon.tsx'
import { CreateKey, EditKey, RotateKey } from '../parts/key-dialogs.tsx'
import { Loading, PageHead } from '../parts/page-head.tsx'
import { Stale } from '../parts/stale.tsx'

/** The access keys of programs. */
export function KeysPage () {
  const { data, error, reload } = useLive(signal => apiKeys.list(signal), [], { interval: seldom, about: () => false })
  const [open, setOpen] = useState<{ dialog: string, key: Key | null }>({ dialog: '', key: null })
  const close = () => setOpen({ dialog: '', key: null })

  async function revoke ({ id }: Key) {
    await attempt(() => apiKeys.remove(id))
    close()
    reload()
  }

  return (
    <>
      <PageHead title='API keys'>
        <button type='button' class='button primary' onClick={() => setOpen({ dialog: 'create', key: null })}>
          <Icon name='create' />New key
        </button>
      </PageHead>
      <p class='lead'>Programs send a key to use the API: <code>X-API-Key</code> and <code>X-API-Secret</code>. The web UI does not need one.</p>
      {data === undefined
        ? <Loading error={error} />
        : <Stale error={error} />}
      {data?.length === 0 && <p class='empty'>No keys yet. Create one for each program, so that you can revoke each alone.</p>}
      <ul class='cards'>
        {data?.map(key => <KeyCard key={key.id} accessKey={key} onOpen={dialog => setOpen({ dialog, key })} />)}
      </ul>
      {open.dialog === 'create' && <CreateKey onClose={close} onChanged={reload} />}
      {open.dialog === 'edit' && open.key !== null && <EditKey
        accessKey={open.key} onClose={close}
        onChanged={reload}
                                                      />}
      {open.dialog === 'rotate' && open.key !== null && <RotateKey
        accessKey={open.key}
        onClose={close} onChanged={reload}
                                                        />}
      {open.dialog === 'revoke' && open.key !== null && (
        <Confirm
          title={`Revoke ${open.key.name}?`} action='Revoke key' onConfirm={() => open.key !== null && revoke(open.key)} onClose={close}
          sentence='Programs that use it are shut out at once. Its jobs stay.'
        />
      )}
    </>
  )
}

function KeyCard ({ accessKey, onOpen }: { accessKey: Key, onOpen: (dialog: string) => void }) {
  const { name, scopes, is_active: isActive, previous_secret_valid_until: formerUntil } = accessKey
  const limit = accessKey.rate_limit_per_minute
  return (
    <li class='card'>
      <div class='card-head'>
        <h2>{name}</h2>
        {!isActive && <span class='status still'>Disabled</span>}
      </div>
      {accessKey.description && <p>{accessKey.description}</p>}
      <dl class='facts-list'>
        <div><dt>Key</dt><dd><code>{accessKey.key}</code></dd></div>
        <div><dt>Permissions</dt><dd>{rightsText(scopes)}</dd></div>
        <div><dt>Limit</dt><dd>{limit === null ? 'none' : `${plural(limit, 'request')} a minute`}</dd></div>
        {accessKey.webhook_url && <div><dt>Webhook</dt><dd>{accessKey.webhook_url}</dd></div>}
        {dropInText(accessKey.drop_in) && <div><dt>Drop-in</dt><dd>{dropInText(accessKey.drop_in)}</dd></div>}
        {accessKey.drop_in.server && <div><dt>Server</dt><dd>{accessKey.drop_in.server}</dd></div>}
        <div><dt>Created</dt><dd>{momentText(accessKey.created_at)}</dd></div>
        <div><dt>Used</dt><dd>{accessKey.last_used_at === null ? 'never' : `${ago(accessKey.last_used_at)}, ${plural(accessKey.usage_count, 'time')} in total`}</dd></div>
        {formerUntil !== null && <div><dt>Old secret</dt><dd>works until {momentText(formerUntil)}</dd></div>}
      </dl>
      <div class='actions'>
        <button type='button' class='button' aria-label={`Change ${name}`} onClick={() => onOpen('edit')}><Icon name='pen' />Change</button>
        <button type='button' class='button' aria-label={`Rotate ${name}`} onClick={() => onOpen('rotate')}><Icon name='again' />Rotate</button>
        <button
          type='button' class='button quiet' aria-label={`Revoke ${name}`}
          onClick={() => onOpen('revoke')}
        ><Icon name='bin' />Revoke
        </button>
      </div>
    </li>
  )
}
