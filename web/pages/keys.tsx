import type { Key } from '../lib/api-types.ts'
import { ago, momentText } from '../lib/format.ts'
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
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/keys.ts'

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
      <PageHead title={common.apiKeys}>
        <button type='button' class='button primary' onClick={() => setOpen({ dialog: 'create', key: null })}>
          <Icon name='create' />{t.newKey}
        </button>
      </PageHead>
      <p class='lead'>{t.programsSendKey(name => <code>{name}</code>)}</p>
      {data === undefined
        ? <Loading error={error} />
        : <Stale error={error} />}
      {data?.length === 0 && <p class='empty'>{t.noKeysYet}</p>}
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
          title={t.revokeQuestion(open.key.name)} action={t.revokeKey} onClose={close}
          onConfirm={async () => { if (open.key !== null) await revoke(open.key) }}
          sentence={t.programsThatUseIt}
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
        {!isActive && <span class='status still'>{common.disabled}</span>}
      </div>
      {accessKey.description && <p>{accessKey.description}</p>}
      <dl class='facts-list'>
        <div><dt>{t.key}</dt><dd><code>{accessKey.key}</code></dd></div>
        <div><dt>{t.permissions}</dt><dd>{rightsText(scopes)}</dd></div>
        <div><dt>{t.limit}</dt><dd>{limit === null ? t.none : t.requestsAMinute(limit)}</dd></div>
        {accessKey.background && <div><dt>{t.jobsOf}</dt><dd>{t.yields}</dd></div>}
        {accessKey.webhook_url && <div><dt>{t.webhook}</dt><dd>{accessKey.webhook_url}</dd></div>}
        {dropInText(accessKey.drop_in) && <div><dt>{t.dropIn}</dt><dd>{dropInText(accessKey.drop_in)}</dd></div>}
        {accessKey.drop_in.server && <div><dt>{common.server}</dt><dd>{accessKey.drop_in.server}</dd></div>}
        <div><dt>{t.created}</dt><dd>{momentText(accessKey.created_at)}</dd></div>
        <div><dt>{t.used}</dt><dd>{accessKey.last_used_at === null ? t.never : t.timesInTotal({ when: ago(accessKey.last_used_at), usageCount: accessKey.usage_count })}</dd></div>
        {formerUntil !== null && <div><dt>{t.oldSecret}</dt><dd>{t.worksUntil(momentText(formerUntil))}</dd></div>}
      </dl>
      <div class='actions'>
        <button type='button' class='button' aria-label={t.changeName(name)} onClick={() => onOpen('edit')}><Icon name='pen' />{t.change}</button>
        <button type='button' class='button' aria-label={t.rotateName(name)} onClick={() => onOpen('rotate')}><Icon name='again' />{t.rotate}</button>
        <button
          type='button' class='button quiet' aria-label={t.revokeAction(name)}
          onClick={() => onOpen('revoke')}
        ><Icon name='bin' />{t.revoke}
        </button>
      </div>
    </li>
  )
}
