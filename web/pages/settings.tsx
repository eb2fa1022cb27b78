import type { Changeable, Setting } from '../lib/api-types.ts'
import { addressOf } from '../lib/api.ts'
import { momentText } from '../lib/format.ts'
import { useState } from 'preact/hooks'
import { aboutQueue, seldom, useLive } from '../lib/live.ts'
import { attempt } from '../lib/messages.ts'
import { session, type Who } from '../lib/service.ts'
import { settings } from '../lib/settings-service.ts'
import { Icon } from '../parts/icon.tsx'
import { Loading, PageHead } from '../parts/page-head.tsx'
import { RetentionCard } from '../parts/retention.tsx'
import { Stale } from '../parts/stale.tsx'
import { TellingCard } from '../parts/telling.tsx'

/** Current values and their sources, and the values that operators can change while the service runs. */
export function SettingsPage () {
  const { data, error, reload } = useLive(signal => settings.read(signal), [], { interval: seldom, about: aboutQueue })
  if (data === undefined) {
    return (
      <><PageHead title='Settings' /><Loading error={error} /></>
    )
  }
  return (
    <>
      <PageHead title='Settings' />
      <Stale error={error} />
      <div class='settings-cards'>
        <QueueCard changeable={data.settings} onChanged={reload} />
        <RetentionCard changeable={data.settings} onChanged={reload} />
        <AccessCard />
        <TellingCard />
        <section class='card' aria-labelledby='more-settings'>
          <h2 id='more-settings'>For operators</h2>
          <ul class='links'>
            <li><a href={addressOf('/docs')}>API docs</a> <span class='hint'>try every route</span></li>
            <li><a href={addressOf('/dashboard')}>Dashboard</a> <span class='hint'>the BullMQ queues</span></li>
            <li><a href={addressOf('/metrics')}>Metrics</a> <span class='hint'>for Prometheus</span></li>
            <li><a href={addressOf('/ready')}>Readiness</a> <span class='hint'>Redis and workers</span></li>
          </ul>
          <p class='hint'>StableQueue {data.version}</p>
        </section>
      </div>
      <CurrentSettings settings={data.in_force} />
    </>
  )
}

function QueueCard ({ changeable: { queueProcessingEnabled: isOn, lastUpdated }, onChanged }: {
  changeable: Changeable
  onChanged: () => void
}) {
  const [busy, setBusy] = useState(false)

  async function change () {
    setBusy(true)
    await attempt(() => settings.switchQueue(!isOn))
    setBusy(false)
    onChanged()
  }

  return (
    <section class='card' aria-labelledby='queue-switch'>
      <div class='card-head'><h2 id='queue-switch'>Queue</h2><span class={`status ${isOn ? 'good' : 'warn'}`}>{isOn ? 'On' : 'Off'}</span></div>
      <p>{isOn
        ? 'Servers take jobs. If you switch the queue off, running generations finish and no new one starts; jobs are accepted and wait.'
        : 'No server takes a job until the queue is on again. Jobs are accepted and wait.'}
      </p>
      <div class='actions'>
        <button type='button' class={isOn ? 'button' : 'button primary'} disabled={busy} onClick={change}>
          <Icon name={isOn ? 'pause' : 'play'} />{isOn ? 'Switch the queue off' : 'Switch the queue on'}
        </button>
      </div>
      {lastUpdated !== null && <p class='hint'>Settings were last changed {momentText(lastUpdated)}.</p>}
    </section>
  )
}

const kinds: Readonly<Partial<Record<Who['kind'], string>>> = {
  local: 'You are trusted because you are on this machine or in a trusted network; no token is needed.',
  session: 'You signed in with the admin token. The session ends after 12 hours without use, and after 7 days.',
  key: 'You use an access key.',
  token: 'You use a token.'
}

function AccessCard () {
  const { data: who } = useLive(() => session.read(), [], { interval: null })

  async function signOut () {
    if (await attempt(() => session.end(), 'You are signed out.')) window.location.reload()
  }

  return (
    <section class='card' aria-labelledby='access'>
      <h2 id='access'>Access</h2>
      <p>{who === undefined ? '' : kinds[who.kind] ?? ''}</p>
      <div class='actions'>
        {who?.kind === 'session' && <button type='button' class='button' onClick={signOut}><Icon name='leave' />Sign out here</button>}
        <a class='button' href='#/keys'><Icon name='key' />API keys</a>
      </div>
    </section>
  )
}

const sources = { 'command line': 'command line', environment: 'environment', file: '.env', default: 'default', here: 'changed here' }

function CurrentSettings ({ settings: all }: { settings: readonly Setting[] }) {
  const [search, setSearch] = useState('')
  const [onlyChanged, setOnlyChanged] = useState(false)
  const wanted = search.trim().toLowerCase()
  const shown = all.filter(({ name, description, source }) =>
    (!onlyChanged || source !== 'default') && `${name} ${description}`.toLowerCase().includes(wanted))
  return (
    <section class='stack' aria-labelledby='in-force'>
      <h2 id='in-force'>Current settings</h2>
      <p class='hint'>From the environment or from .env, read when the service starts.</p>
      <div class='filters' role='search' aria-label='Settings'>
        <input
          type='search' aria-label='Search settings' placeholder='Search settings'
          value={search} onInput={event => setSearch(event.currentTarget.value)}
        />
        <label class='check inline'><input
          type='checkbox' checked={onlyChanged}
          onChange={event => setOnlyChanged(event.currentTarget.checked)}
                                    />Only changed ones
        </label>
      </div>
      <ul class='rows settings-rows'>
        {shown.map(setting => (
          <li key={setting.name}>
            <div><h3><code>{setting.name}</code></h3><p class='hint'>{setting.description}</p></div>
            <div class='setting-value'>
              <p><SettingValue setting={setting} /></p>
              <p class='hint'>{setting.source !== 'default' ? <span class={`status ${setting.source === 'here' ? 'active' : 'still'}`}>{sources[setting.source]}</span> : 'default'}</p>
            </div>
          </li>
        ))}
      </ul>
      {shown.length === 0 && <p class='empty'>No setting matches.</p>}
    </section>
  )
}

function SettingValue ({ setting: { value, is_secret: isSecret, is_set: isSet } }: { setting: Setting }) {
  if (isSecret) return isSet ? <span class='muted'>set, not shown</span> : <span class='muted'>empty</span>
  const text = Array.isArray(value) ? value.join(', ') : String(value)
  return text === '' ? <span class='muted'>empty</span> : <code>{text}</code>
}
