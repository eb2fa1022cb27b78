import type { Route } from '../lib/router.ts'
import type { Server } from '../lib/api-types.ts'
import { ago, momentText, plural } from '../lib/format.ts'
import { useState } from 'preact/hooks'
import { useRights } from '../lib/caller.ts'
import { useLive } from '../lib/live.ts'
import { setQuery } from '../lib/router.ts'
import { servers } from '../lib/service.ts'
import { AddServer } from '../parts/add-server.tsx'
import { CheckServer } from '../parts/check-server.tsx'
import { EditServer } from '../parts/edit-server.tsx'
import { HealthStrip } from '../parts/health-strip.tsx'
import { Icon } from '../parts/icon.tsx'
import { Loading, PageHead } from '../parts/page-head.tsx'
import { PauseServer } from '../parts/pause-server.tsx'
import { RemoveServer } from '../parts/remove-server.tsx'
import { ServerActions } from '../parts/server-actions.tsx'
import { ServerInventory } from '../parts/server-inventory.tsx'
import { Stale } from '../parts/stale.tsx'
import { healthWord, pauseWord, Status } from '../parts/status.tsx'

/** The Stable Diffusion servers behind the queue. */
export function ServersPage ({ route }: { route: Route }) {
  const { data, error, reload } = useLive(signal => servers.list(signal), [])
  const [open, setOpen] = useState<{ dialog: string, server: Server | null }>({ dialog: '', server: null })
  const rights = useRights()
  const close = () => setOpen({ dialog: '', server: null })
  const done = () => {
    close()
    reload()
  }

  return (
    <>
      <PageHead title='Servers'>
        {rights.change_servers && <button type='button' class='button primary' onClick={() => setQuery(route, { add: '1' })}><Icon name='create' />Add a server</button>}
      </PageHead>
      {data === undefined
        ? <Loading error={error} />
        : <Stale error={error} />}
      {data?.length === 0 && (
        <div class='empty'>
          <p>No servers yet. Jobs need a server to run on.</p>
          <p>Start A1111 or Forge with <code>--api</code>, then add its address here.</p>
        </div>
      )}
      <ul class='cards'>
        {data?.map(server => <ServerCard
          key={server.id} server={server} onChanged={reload}
          onOpen={dialog => setOpen({ dialog, server })}
                             />)}
      </ul>
      {route.query.has('add') && <AddServer onClose={() => setQuery(route, { add: '' })} onChanged={reload} />}
      {open.dialog === 'edit' && open.server !== null && <EditServer
        server={open.server}
        onClose={close} onChanged={reload}
                                                         />}
      {open.dialog === 'check' && open.server !== null && <CheckServer
        server={open.server}
        onClose={done} onChanged={reload}
                                                          />}
      {open.dialog === 'pause' && open.server !== null && <PauseServer
        server={open.server}
        onClose={close} onPaused={done}
                                                          />}
      {open.dialog === 'inventory' && open.server !== null && <ServerInventory server={open.server} onClose={close} />}
      {open.dialog === 'remove' && open.server !== null && <RemoveServer
        server={open.server}
        others={data?.filter(({ id }) => id !== open.server?.id) ?? []} onClose={close} onRemoved={done}
                                                           />}
    </>
  )
}

function ServerCard ({ server, onChanged, onOpen }: {
  server: Server
  onChanged: () => void
  onOpen: (dialog: string) => void
}) {
  const { alias, enabled, paused } = server
  const checkpoint = server.loaded_checkpoint
  const isSilent = server.health === 'offline' || server.health === 'unauthorized'
  return (
    <li class='card'>
      <div class='card-head'>
        <h2>{alias}</h2>
        <Status status={healthWord(server)} />
        {paused && <Status status={pauseWord(server)} />}
      </div>
      {server.is_simulator && <p class='badge'>Simulator – paints pictures, no Stable Diffusion</p>}
      {server.description && <p>{server.description}</p>}
      {paused && (
        <p class='notice warning-notice'>
          {server.pause_reason ?? 'Paused: no new job starts here.'}
          {server.drained && <strong>Nothing runs here: you can remove the server.</strong>}
          {server.paused_at && <span class='hint' title={momentText(server.paused_at)}> Since {ago(server.paused_at)}.</span>}
        </p>
      )}
      <HealthStrip server={server} />
      <dl class='facts-list'>
        <div><dt>Address</dt><dd>{server.apiUrl}</dd></div>
        <div><dt>Kind</dt><dd>{[server.kind ?? 'not known yet', server.version].filter(Boolean).join(' ')}</dd></div>
        <div><dt>{isSilent ? 'Last loaded' : 'Loaded'}</dt><dd>{checkpoint ?? '–'}</dd></div>
        <div><dt>Jobs</dt><dd><a href={`#/queue?server=${encodeURIComponent(alias)}`}>{server.processing} running, {server.waiting} waiting</a></dd></div>
        {server.learned?.checked_at && <div><dt>Checked</dt><dd>{learnedWords(server.learned)} ({ago(server.learned.checked_at)})</dd></div>}
        <div>
          <dt>Last answer</dt>
          <dd title={momentText(server.last_answer_at)}>{server.last_answer_at === null ? 'has not answered yet' : ago(server.last_answer_at)}</dd>
        </div>
        <div><dt>Last checked</dt><dd>{ago(server.checked_at)}</dd></div>
      </dl>
      {server.last_error && (
        <div class='problem'>
          <p>{server.last_error}</p>
          {adviceFor(server) && <p>{adviceFor(server)}</p>}
        </div>
      )}
      <ServerActions server={server} onChanged={onChanged} onOpen={onOpen} />
      {server.waiting > 0 && !enabled && <p class='hint'>{plural(server.waiting, 'job')} wait until it is enabled again.</p>}
    </li>
  )
}

/** The results of a thorough check that people ask for most. */
function learnedWords (learned: NonNullable<Server['learned']>) {
  const described = (value: boolean | null, good: string, bad: string) => value === null ? [] : [value ? good : bad]
  const { body_refused_bytes: body, time_limit_seconds: limit } = learned
  return [
    ...described(learned.interrupts, 'stops when interrupted', 'does not stop when interrupted'),
    ...described(learned.tells_tasks_apart, 'distinguishes tasks', 'does not distinguish tasks'),
    ...(learned.restores_overrides === 'none' ? ['does not restore settings'] : []),
    ...(body === null ? [] : [`accepts requests below ${Math.round(body / 1024 / 1024 * 10) / 10} MiB`]),
    ...(limit === null ? [] : [`a proxy waits ${limit} s`])
  ].join(', ') || 'few findings'
}

/** Actions for the server's operator. */
function adviceFor ({ health, last_error: problem }: Server) {
  if (health === 'unauthorized') return 'Change the server and enter its credentials: the user name and password of its --api-auth, a token or headers.'
  if (health === 'suspected') return 'It answers, so it is retried automatically with another job. Its own output can say more.'
  if (health === 'offline' && /Nothing listens|connection in time|cannot be reached/.test(problem ?? '')) return 'On another machine it also needs --listen. Its jobs wait until it answers.'
  if (health === 'offline') return 'Its jobs wait until it answers.'
  return ''
}
