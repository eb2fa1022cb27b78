import type { Route } from '../lib/router.ts'
import type { Server } from '../lib/api-types.ts'
import { ago, momentText } from '../lib/format.ts'
import { useState } from 'preact/hooks'
import { useRights } from '../lib/caller.ts'
import { useLive } from '../lib/live.ts'
import { setQuery } from '../lib/router.ts'
import { servers } from '../lib/service.ts'
import { AddServer } from '../parts/add-server.tsx'
import { CheckServer } from '../parts/check-server.tsx'
import { onDemand } from '../parts/dialog.tsx'
import { EditServer } from '../parts/edit-server.tsx'
import { HealthStrip } from '../parts/health-strip.tsx'
import { Icon } from '../parts/icon.tsx'
import { Loading, PageHead } from '../parts/page-head.tsx'
import { RemoveServer } from '../parts/remove-server.tsx'
import { ServerActions } from '../parts/server-actions.tsx'
import { ServerInventory } from '../parts/server-inventory.tsx'
import { Stale } from '../parts/stale.tsx'
import { healthWord, pauseWord, Status } from '../parts/status.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/servers.ts'

const PauseServer = onDemand(async () => (await import('../parts/pause-server.tsx')).PauseServer)

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
      <PageHead title={common.servers}>
        {rights.change_servers && <button type='button' class='button primary' onClick={() => setQuery(route, { add: '1' })}><Icon name='create' />{t.addServer}</button>}
      </PageHead>
      {data === undefined
        ? <Loading error={error} />
        : <Stale error={error} />}
      {data?.length === 0 && (
        <div class='empty'>
          <p>{t.noServersYetJobs}</p>
          <p>{t.startServer(option => <code>{option}</code>)}</p>
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
      {server.is_simulator && <p class='badge'>{t.simulatorPaintsPicturesNo}</p>}
      {server.description && <p>{server.description}</p>}
      {paused && (
        <p class='notice warning-notice'>
          {server.pause_reason ?? t.pausedNoNewJob}
          {server.drained && <strong>{t.nothingRunsHereYou}</strong>}
          {server.paused_at && <span class='hint' title={momentText(server.paused_at)}>{t.sinceWhen(ago(server.paused_at))}</span>}
        </p>
      )}
      <HealthStrip server={server} />
      <dl class='facts-list'>
        <div><dt>{common.address}</dt><dd>{server.apiUrl}</dd></div>
        <div><dt>{t.kind}</dt><dd>{[server.kind ?? t.notKnownYet, server.version].filter(Boolean).join(' ')}</dd></div>
        <div><dt>{isSilent ? t.lastLoaded : t.loaded}</dt><dd>{checkpoint ?? '–'}</dd></div>
        <div><dt>{t.jobs}</dt><dd><a href={`#/queue?server=${encodeURIComponent(alias)}`}>{t.runningWaiting({ processing: server.processing, waiting: server.waiting })}</a></dd></div>
        {server.learned?.checked_at && <div><dt>{t.checked}</dt><dd>{t.checkedWhen({ words: learnedWords(server.learned), when: ago(server.learned.checked_at) })}</dd></div>}
        <div>
          <dt>{t.lastAnswer}</dt>
          <dd title={momentText(server.last_answer_at)}>{server.last_answer_at === null ? t.hasNotAnsweredYet : ago(server.last_answer_at)}</dd>
        </div>
        <div><dt>{t.lastChecked}</dt><dd>{ago(server.checked_at)}</dd></div>
      </dl>
      {server.last_error && (
        <div class='problem'>
          <p>{server.last_error}</p>
          {adviceFor(server) && <p>{adviceFor(server)}</p>}
        </div>
      )}
      <ServerActions server={server} onChanged={onChanged} onOpen={onOpen} />
      {server.waiting > 0 && !enabled && <p class='hint'>{t.jobsWaitUntilIt(server.waiting)}</p>}
    </li>
  )
}

/** The results of a thorough check that people ask for most. */
function learnedWords (learned: NonNullable<Server['learned']>) {
  const described = (value: boolean | null, good: string, bad: string) => value === null ? [] : [value ? good : bad]
  const { body_refused_bytes: body, time_limit_seconds: limit } = learned
  return [
    ...described(learned.interrupts, t.stopsWhenInterrupted, t.doesNotStopWhen),
    ...described(learned.tells_tasks_apart, t.distinguishesTasks, t.doesNotDistinguishTasks),
    ...(learned.restores_overrides === 'none' ? [t.doesNotRestoreSettings] : []),
    ...(body === null ? [] : [t.acceptsRequestsBelowMiB(Math.round(body / 1024 / 1024 * 10) / 10)]),
    ...(limit === null ? [] : [t.proxyWaitsS(limit)])
  ].join(', ') || t.fewFindings
}

/** Actions for the server's operator. */
function adviceFor ({ health, last_error: problem }: Server) {
  if (health === 'unauthorized') return t.changeServerAndEnterIts
  if (health === 'suspected') return t.itAnswersSoItIs
  if (health === 'offline' && /Nothing listens|connection in time|cannot be reached/.test(problem ?? '')) return t.onAnotherMachineItAlso
  if (health === 'offline') return t.itsJobsWaitUntil
  return ''
}
