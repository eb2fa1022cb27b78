import type { Server } from '../lib/api-types.ts'
import type { Outcome } from '../lib/messages.ts'
import type { IconName } from './icon.tsx'
import { useState } from 'preact/hooks'
import { useRights } from '../lib/caller.ts'
import { attempt, complain, say } from '../lib/messages.ts'
import { servers } from '../lib/service.ts'
import { Icon } from './icon.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/servers.ts'

/** Actions for a server; onOpen opens one of the page's dialogs. */
export function ServerActions ({ server, onChanged, onOpen }: {
  server: Server
  onChanged: () => void
  onOpen: (dialog: string) => void
}) {
  const rights = useRights()
  const [busy, setBusy] = useState(false)
  const { alias, enabled, paused } = server

  async function act (work: () => Promise<Outcome>) {
    setBusy(true)
    await attempt(work)
    setBusy(false)
    onChanged()
  }

  async function test () {
    setBusy(true)
    try {
      const { reachable, message, duration_ms: ms } = await servers.test(alias)
      if (reachable) say(t.answersAfterMs({ alias, ms, message }))
      else complain(new Error(t.cannotBeUsed({ alias, message })))
    } catch (error) {
      complain(error)
    }
    setBusy(false)
    onChanged()
  }

  const button = (label: string, icon: IconName, onClick: () => void) => <button type='button' class='button' disabled={busy} aria-label={t.actionOn({ action: label, alias })} onClick={onClick}><Icon name={icon} />{label}</button>
  const inventory = button(t.inventory, 'models', () => onOpen('inventory'))
  if (!rights.change_servers) return <div class='actions'>{inventory}</div>
  return (
    <div class='actions'>
      {button(t.test, 'plug', test)}
      {button(t.check, 'search', () => onOpen('check'))}
      {paused && !server.checking
        ? button(t.resume, 'play', () => act(() => servers.resume(alias)))
        : button(t.pause, 'pause', () => onOpen('pause'))}
      {!server.draining && button(t.drain, 'stop', () => act(async () => say((await servers.drain(alias)).message)))}
      {inventory}
      {button(t.change, 'pen', () => onOpen('edit'))}
      {button(enabled ? t.disable : t.enable, enabled ? 'stop' : 'again', () => act(() => servers.change(alias, { enabled: !enabled })))}
      <button
        type='button' class='button quiet' disabled={busy} aria-label={t.deleteAction(alias)}
        onClick={() => onOpen('remove')}
      >
        <Icon name='bin' />{common.delete}
      </button>
    </div>
  )
}
