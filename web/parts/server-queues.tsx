import type { ListedJob, Server } from '../lib/api-types.ts'
import { ago, secondsText } from '../lib/format.ts'
import { useState } from 'preact/hooks'
import { useRights } from '../lib/caller.ts'
import { useProgress, useQueueSeconds } from '../lib/live.ts'
import { attempt } from '../lib/messages.ts'
import { servers } from '../lib/service.ts'
import { onDemand } from './dialog.tsx'
import { Icon } from './icon.tsx'
import { healthWord, pauseWord, Status } from './status.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/queue.ts'

const PauseServer = onDemand(async () => (await import('./pause-server.tsx')).PauseServer)

/** The servers side by side: progress, lengths of their queues, and pausing them. */
export function ServerQueues ({ servers: known, running, enabled, onChanged }: {
  servers: readonly Server[]
  running: readonly ListedJob[]
  /** Whether the queue runs. */
  enabled: boolean
  onChanged: () => void
}) {
  const [pausing, setPausing] = useState<Server | null>(null)
  return (
    <>
      <ul class='lanes' aria-label={common.servers}>
        {known.map(server => (
          <ServerQueue
            key={server.id} server={server} job={running.find(job => job.target_server_alias === server.alias)}
            enabled={enabled} onPause={() => setPausing(server)} onChanged={onChanged}
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

function ServerQueue ({ server, job: read, enabled, onPause, onChanged }: {
  server: Server
  job: ListedJob | undefined
  enabled: boolean
  onPause: () => void
  onChanged: () => void
}) {
  const rights = useRights()
  const job = useProgress(read)
  const { alias, paused } = server
  const seconds = useQueueSeconds(alias) ?? 0
  const sentence = sentenceOf(server, enabled)

  async function resume () {
    await attempt(() => servers.resume(alias))
    onChanged()
  }

  return (
    <li class={paused || !server.enabled ? 'lane held' : 'lane'}>
      <div class='lane-head'>
        <h2 title={alias}><a href={`#/queue?status=pending&server=${encodeURIComponent(alias)}`}>{alias}</a></h2>
        <Status status={paused ? pauseWord(server) : healthWord(server)} />
        {rights.change_servers && (
          <button
            type='button' class='button quiet icon-only' title={paused ? t.resume : t.pause}
            aria-label={(paused ? t.resumeServer : t.pauseServer)(alias)} onClick={paused ? resume : onPause}
          >
            <Icon name={paused ? 'play' : 'pause'} />
          </button>
        )}
      </div>
      <div class='lane-job'>
        {job === undefined
          ? <p class='muted' title={sentence}>{sentence}</p>
          : (
            <a class='progress' href={`#/job/${job.id}`} title={job.generation_params.prompt || t.noPrompt}>
              <progress max='100' value={job.progress_percentage} aria-label={t.progressAt(alias)} />
              <span class='numbers'>{common.percent(job.progress_percentage)}</span>
            </a>
            )}
      </div>
      <p class='facts'>
        {/* Jobs that any server can take wait in the one queue below, and are not counted here. */}
        {server.waiting > 0 && (
          <a href={`#/queue?status=pending&server=${encodeURIComponent(alias)}`}>{t.jobsWaitingForIt(server.waiting)}</a>
        )}
        {server.waiting > 0 && seconds > 0 && <span>{t.aboutOfWork(secondsText(seconds))}</span>}
        {server.loaded_checkpoint && answers(server) && <span class='one-line' title={server.loaded_checkpoint}>{server.loaded_checkpoint}</span>}
        {server.is_simulator && <span class='kind'>{t.simulator}</span>}
      </p>
    </li>
  )
}

/** The loaded checkpoint of a server that does not answer is not known. */
function answers ({ health }: Server) {
  return health !== 'offline' && health !== 'unauthorized'
}

function sentenceOf (server: Server, enabled: boolean) {
  if (server.paused) {
    const sentence = server.pause_reason ?? t.pausedNoNewJob
    return server.paused_at === null ? sentence : t.since({ sentence, when: ago(server.paused_at) })
  }
  if (!server.enabled) return t.disabledItsJobsWait
  if (server.health === 'suspected') return t.shortBreak(server.last_error ?? t.severalGenerationsFailedIn)
  if (server.health === 'unauthorized') return server.last_error ?? t.itRejectsCredentialsIts
  if (server.health === 'offline') {
    const problem = server.last_error ?? t.itDoesNotAnswer
    return server.last_answer_at === null ? problem : t.itsLastAnswer({ problem, when: ago(server.last_answer_at) })
  }
  // It is not among the jobs that this person sees.
  if (server.health === 'busy') return t.busyWithAnother
  if (!enabled) return t.queueIsOff
  return server.waiting > 0 ? t.nextJobIsAbout : t.idleReadyForNext
}
