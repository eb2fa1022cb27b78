import type { ListedJob, Server } from '../lib/api-types.ts'
import { ago, plural, secondsText } from '../lib/format.ts'
import { useState } from 'preact/hooks'
import { useRights } from '../lib/caller.ts'
import { useProgress, useQueueSeconds } from '../lib/live.ts'
import { attempt } from '../lib/messages.ts'
import { servers } from '../lib/service.ts'
import { Icon } from './icon.tsx'
import { JobPicture } from './job-picture.tsx'
import { PauseServer } from './pause-server.tsx'
import { healthWord, pauseWord, Status } from './status.tsx'

/** The servers side by side: their running jobs, lengths of their queues, and pausing them. */
export function ServerQueues ({ servers: known, running, onChanged }: {
  servers: readonly Server[]
  running: readonly ListedJob[]
  onChanged: () => void
}) {
  const [pausing, setPausing] = useState<Server | null>(null)
  return (
    <>
      <ul class='lanes' aria-label='Servers'>
        {known.map(server => (
          <ServerQueue
            key={server.id} server={server} job={running.find(job => job.target_server_alias === server.alias)}
            onPause={() => setPausing(server)} onChanged={onChanged}
          />
        ))}
      </ul>
      {pausing !== null && <PauseServer
        server={pausing} onClose={() => setPausing(null)}
        onPaused={() => { setPausing(null); onChanged() }}
                           />}
    </>
  )
}

function ServerQueue ({ server, job: read, onPause, onChanged }: {
  server: Server
  job: ListedJob | undefined
  onPause: () => void
  onChanged: () => void
}) {
  const rights = useRights()
  const job = useProgress(read)
  const { alias, paused } = server
  const seconds = useQueueSeconds(alias) ?? 0

  async function resume () {
    await attempt(() => servers.resume(alias))
    onChanged()
  }

  return (
    <li class={paused || !server.enabled ? 'lane held' : 'lane'}>
      <div class='lane-head'>
        <h2><a href={`#/queue?status=pending&server=${encodeURIComponent(alias)}`}>{alias}</a>{server.is_simulator && <span class='hint'>simulator</span>}</h2>
        <Status status={paused ? pauseWord(server) : healthWord(server)} />
        {rights.change_servers && (
          <button
            type='button' class='button quiet icon-only' title={paused ? 'Resume' : 'Pause'}
            aria-label={`${paused ? 'Resume' : 'Pause'} ${alias}`} onClick={paused ? resume : onPause}
          >
            <Icon name={paused ? 'play' : 'pause'} />
          </button>
        )}
      </div>
      <div class='lane-job'>
        {job === undefined
          ? <p class='muted'>{sentenceOf(server)}</p>
          : (
            <>
              <a class='job-picture' href={`#/job/${job.id}`} tabindex={-1} aria-hidden='true'><JobPicture job={job} /></a>
              <div>
                <p class='one-line'><a href={`#/job/${job.id}`}>{job.generation_params.prompt || 'No prompt'}</a></p>
                <div class='progress'>
                  <progress max='100' value={job.progress_percentage} aria-label={`Progress at ${alias}`} />
                  <span class='numbers'>{Math.round(job.progress_percentage)} %</span>
                </div>
              </div>
            </>
            )}
      </div>
      <p class='facts'>
        {/* Jobs that any server can take wait in the one queue below, and are not counted here. */}
        {server.waiting > 0 && (
          <a href={`#/queue?status=pending&server=${encodeURIComponent(alias)}`}>{plural(server.waiting, 'job')} waiting for it</a>
        )}
        {server.waiting > 0 && seconds > 0 && <span>about {secondsText(seconds)} of work</span>}
        {server.loaded_checkpoint && answers(server) && <span class='one-line' title={server.loaded_checkpoint}>{server.loaded_checkpoint}</span>}
      </p>
    </li>
  )
}

/** The loaded checkpoint of a server that does not answer is not known. */
function answers ({ health }: Server) {
  return health !== 'offline' && health !== 'unauthorized'
}

function sentenceOf (server: Server) {
  if (server.paused) {
    const since = server.paused_at === null ? '' : ` (${ago(server.paused_at)})`
    return `${server.pause_reason ?? 'Paused: no new job starts here.'}${since}`
  }
  if (!server.enabled) return 'Disabled: its jobs wait.'
  if (server.health === 'suspected') return `It gets a short break: ${server.last_error ?? 'several generations failed in a row.'}`
  if (server.health === 'unauthorized') return server.last_error ?? 'It rejects the credentials; its jobs wait.'
  if (server.health === 'offline') {
    const problem = server.last_error ?? 'It does not answer; its jobs wait.'
    return server.last_answer_at === null ? problem : `${problem} Its last answer: ${ago(server.last_answer_at)}.`
  }
  return server.waiting > 0 ? 'The next job is about to start.' : 'Idle, ready for the next job.'
}
