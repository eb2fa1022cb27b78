import { timeText } from '../lib/format.ts'
import type { Server } from '../lib/api-types.ts'
import { healthPieces } from '../lib/health.ts'

import { aboutServers, useLive } from '../lib/live.ts'
import { servers } from '../lib/service.ts'
import { t } from '../texts/en/servers.ts'

const minute = 60_000

/** The recent health of a server, as a strip of small bars. */
export function HealthStrip ({ server }: { server: Server }) {
  const { data } = useLive(signal => servers.history(server.alias, signal),
    [server.alias, server.health, server.checked_at],
    { interval: minute, about: event => aboutServers(event) && event.server === server.alias })
  if (data === undefined || data.samples.length === 0) return <p class='hint strip-words'>{t.notCheckedYet}</p>
  const { words, pieces } = healthPieces(data.samples, Date.now())
  const percent = Math.round((data.online_share ?? 0) * 1000) / 10
  const last = data.samples.findLast(({ response_ms: ms }) => ms !== null)
  const sentence = t.onlineOf({ percent, words })
  return (
    <>
      <div class='strip' role='img' aria-label={sentence}>
        {pieces.map(({ from, online }) => <span
          key={from} class={toneOf(online)}
          title={t.pieceOf({ time: timeText(from), state: wordOf(online) })}
                                          />)}
      </div>
      <p class='hint strip-words'>
        <span>{sentence}</span>
        {last && <span class='numbers'>{t.answersInMs(last.response_ms ?? 0)}</span>}
      </p>
    </>
  )
}

function toneOf (online: number | null) {
  if (online === null) return 'unknown'
  return online === 1 ? 'good' : online === 0 ? 'bad' : 'warn'
}

function wordOf (online: number | null) {
  if (online === null) return t.unknown
  return online === 1 ? t.online : online === 0 ? t.offline : t.onlineShare(Math.round(online * 100))
}
