import type { Server } from '../lib/api-types.ts'
import { plural } from '../lib/format.ts'
import { firstRequest } from '../lib/generation.ts'
import { useState } from 'preact/hooks'
import { useRights } from '../lib/caller.ts'
import { complain } from '../lib/messages.ts'
import { goTo } from '../lib/router.ts'
import { jobs } from '../lib/service.ts'
import { Icon } from './icon.tsx'

/** For new users: what the service found, and a first job in one click. */
export function Welcome ({ servers, isEmpty }: { servers?: readonly Server[], isEmpty: boolean }) {
  const rights = useRights()
  const [busy, setBusy] = useState(false)
  if (servers === undefined) return null
  const real = servers.filter(server => !server.is_simulator)
  if ((real.length > 0 && !isEmpty) || !rights.see_servers) return null

  async function paint () {
    setBusy(true)
    try {
      goTo(`/job/${(await jobs.submit(firstRequest)).id}`)
    } catch (error) {
      complain(error)
      setBusy(false)
    }
  }

  return (
    <aside class='notice welcome' aria-label='Getting started'>
      <p>{real.length > 0 ? sentenceAbout(real) : sentenceWithout(servers)}</p>
      <div class='actions'>
        {rights.submit_jobs && servers.length > 0 && isEmpty && (
          <button type='button' class='button primary' disabled={busy} onClick={paint}>
            <Icon name='image' />Paint a first picture
          </button>
        )}
        {real.length === 0 && rights.change_servers && <a class='button' href='#/servers?add=1'><Icon name='server' />Add a server</a>}
      </div>
    </aside>
  )
}

function sentenceWithout (servers: readonly Server[]) {
  return servers.length > 0
    ? 'Only the built-in simulator is running: it paints pictures without Stable Diffusion, so that you can try ' +
      'everything before you add your own server.'
    : 'No servers yet: add the address of your A1111 or Forge, and jobs can run.'
}

const kinds: Readonly<Record<string, string>> = { a1111: 'A1111', forge: 'Forge', sdcpp: 'stable-diffusion.cpp' }
const here: Readonly<Record<string, string>> = { found: 'found on this machine', settings: 'from the settings', user: 'added' }

/** The servers behind the queue, in a sentence. */
function sentenceAbout (servers: readonly Server[]) {
  const words = servers.map(({ alias, kind, version, origin, health, last_answer_at: answered }) => {
    const what = [kinds[kind ?? ''] ?? 'a server', version].filter(Boolean).join(' ')
    const silence = answered === null ? ', which has not answered yet' : ', which does not answer'
    const state = health === 'offline' ? silence : health === 'unauthorized' ? ', which rejects the credentials' : ''
    return `${alias} (${what}, ${here[origin] ?? 'known'}${state})`
  })
  return `Jobs of this queue run on ${plural(servers.length, 'server')}: ${words.join('; ')}. Every job is kept here with its ` +
    'images, from this web UI, the API, or a program written for A1111.'
}
