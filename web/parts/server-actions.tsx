import type { Server } from '../lib/api-types.ts'
import type { Outcome } from '../lib/messages.ts'
import type { IconName } from './icon.tsx'
import { useState } from 'preact/hooks'
import { useRights } from '../lib/caller.ts'
import { attempt, complain, say } from '../lib/messages.ts'
import { servers } from '../lib/service.ts'
import { Icon } from './icon.tsx'

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
      if (reachable) say(`${alias} answers after ${ms} ms: ${message}`)
      else complain(new Error(`${alias} cannot be used: ${message}`))
    } catch (error) {
      complain(error)
    }
    setBusy(false)
    onChanged()
  }

  const button = (label: string, icon: IconName, onClick: () => void) => <button type='button' class='button' disabled={busy} aria-label={`${label} ${alias}`} onClick={onClick}><Icon name={icon} />{label}</button>
  const inventory = button('Inventory', 'models', () => onOpen('inventory'))
  if (!rights.change_servers) return <div class='actions'>{inventory}</div>
  return (
    <div class='actions'>
      {button('Test', 'plug', test)}
      {button('Check', 'search', () => onOpen('check'))}
      {paused && !server.checking
        ? button('Resume', 'play', () => act(() => servers.resume(alias)))
        : button('Pause', 'pause', () => onOpen('pause'))}
      {!server.draining && button('Drain', 'stop', () => act(async () => say((await servers.drain(alias)).message)))}
      {inventory}
      {button('Change', 'pen', () => onOpen('edit'))}
      {button(enabled ? 'Disable' : 'Enable', enabled ? 'stop' : 'again', () => act(() => servers.change(alias, { enabled: !enabled })))}
      <button
        type='button' class='button quiet' disabled={busy} aria-label={`Delete ${alias}`}
        onClick={() => onOpen('remove')}
      >
        <Icon name='bin' />Delete
      </button>
    </div>
  )
}
