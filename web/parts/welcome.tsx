import type { JobRequest, Server } from '../lib/api-types.ts'
import { useRef, useState } from 'preact/hooks'
import { useRights } from '../lib/caller.ts'
import { newKey } from '../lib/intent.ts'
import { serversThatCount } from '../lib/inventory.ts'
import { complain } from '../lib/messages.ts'
import { goTo } from '../lib/router.ts'
import { jobs } from '../lib/service.ts'
import { Icon } from './icon.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/queue.ts'

/** The first job of a new user. */
const firstRequest: JobRequest = {
  target_server_alias: 'default',
  generation_params: {
    prompt: common.examplePrompt, width: 768, height: 512, steps: 24
  },
  app_type: 'ui',
  source_info: 'web ui'
}

/** For new users: what the service found, and a first job in one click. */
export function Welcome ({ servers, isEmpty }: { servers?: readonly Server[], isEmpty: boolean }) {
  const rights = useRights()
  const [busy, setBusy] = useState(false)
  const key = useRef(newKey())
  if (servers === undefined) return null
  const counting = serversThatCount(servers)
  const real = counting.some(server => server.is_simulator) ? [] : counting
  if ((real.length > 0 && !isEmpty) || !rights.see_servers) return null

  async function paint () {
    setBusy(true)
    try {
      goTo(`/job/${(await jobs.submit(firstRequest, key.current)).id}`)
    } catch (error) {
      complain(error)
      setBusy(false)
    }
  }

  return (
    <aside class='notice welcome' aria-label={t.gettingStarted}>
      {real.length > 0
        ? <p>{sentenceAbout(real)}</p>
        : (
          <p>
            <span class={isEmpty || servers.length === 0 ? '' : 'not-on-phone'}>{sentenceWithout(servers, rights.change_servers)}</span>
            {!isEmpty && servers.length > 0 && <span class='on-phone'>{t.onlySimulatorShort}</span>}
          </p>
          )}
      <div class='actions'>
        {rights.submit_jobs && servers.length > 0 && isEmpty && (
          <button type='button' class='button primary' disabled={busy} onClick={paint}>
            <Icon name='image' />{t.paintFirstPicture}
          </button>
        )}
        {real.length === 0 && rights.change_servers && <a class='button' href='#/servers?add=1'><Icon name='server' />{t.addServer}</a>}
      </div>
    </aside>
  )
}

function sentenceWithout (servers: readonly Server[], adds: boolean) {
  if (servers.length > 0) return adds ? t.onlyBuiltInSimulatorIs : t.onlySimulator
  return adds ? t.noServersYetAddAddress : t.noServersYet
}

const kinds: Readonly<Record<string, string>> = { a1111: t.a1111, forge: t.forge, sdcpp: 'stable-diffusion.cpp' }
const here: Readonly<Record<string, string>> = { found: t.foundOnThisMachine, settings: t.fromSettings, user: t.added }

/** The servers behind the queue, in a sentence. */
function sentenceAbout (servers: readonly Server[]) {
  const words = servers.map(({ alias, kind, version, origin, health, last_answer_at: answered }) => {
    const what = [kinds[kind ?? ''] ?? t.aServer, version].filter(Boolean).join(' ')
    const silence = answered === null ? t.whichHasNotAnswered : t.whichDoesNotAnswer
    const state = health === 'offline' ? silence : health === 'unauthorized' ? t.whichRejectsCredentials : ''
    return t.serverFacts({ alias, facts: `${what}, ${here[origin] ?? t.known}${state}` })
  })
  return t.jobsOfThisQueueRun({ count: servers.length, words: words.join('; ') })
}
