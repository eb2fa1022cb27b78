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
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/settings.ts'

/** Current values and their sources, and the values that operators can change while the service runs. */
export function SettingsPage () {
  const { data, error, reload } = useLive(signal => settings.read(signal), [], { interval: seldom, about: aboutQueue })
  if (data === undefined) {
    return (
      <><PageHead title={common.settings} /><Loading error={error} /></>
    )
  }
  return (
    <>
      <PageHead title={common.settings} />
      <Stale error={error} />
      <div class='settings-cards'>
        <QueueCard changeable={data.settings} onChanged={reload} />
        <RetentionCard changeable={data.settings} onChanged={reload} />
        <AccessCard />
        <TellingCard />
        <section class='card' aria-labelledby='more-settings'>
          <h2 id='more-settings'>{t.forOperators}</h2>
          <ul class='links'>
            <li><a href={addressOf('/docs')}>{common.apiDocs}</a> <span class='hint'>{t.tryEveryRoute}</span></li>
            <li><a href={addressOf('/dashboard')}>{common.dashboard}</a> <span class='hint'>{t.bullMQQueues}</span></li>
            <li><a href={addressOf('/metrics')}>{t.metrics}</a> <span class='hint'>{t.forPrometheus}</span></li>
            <li><a href={addressOf('/ready')}>{t.readiness}</a> <span class='hint'>{t.redisAndWorkers}</span></li>
          </ul>
          <p class='hint'>{t.stableQueueVersion(data.version)}</p>
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
      <div class='card-head'><h2 id='queue-switch'>{common.queue}</h2><span class={`status ${isOn ? 'good' : 'warn'}`}>{isOn ? t.on : t.off}</span></div>
      <p>{isOn
        ? t.queueIsOn
        : t.queueIsOff}
      </p>
      <div class='actions'>
        <button type='button' class={isOn ? 'button' : 'button primary'} disabled={busy} onClick={change}>
          <Icon name={isOn ? 'pause' : 'play'} />{isOn ? t.switchQueueOff : t.switchQueueOn}
        </button>
      </div>
      {lastUpdated !== null && <p class='hint'>{t.settingsWereLastChanged(momentText(lastUpdated))}</p>}
    </section>
  )
}

const kinds: Readonly<Partial<Record<Who['kind'], string>>> = {
  local: t.trustedHere,
  session: t.signedInWithToken,
  key: t.usesKey,
  token: t.usesToken
}

function AccessCard () {
  const { data: who } = useLive(() => session.read(), [], { interval: null })

  async function signOut () {
    if (await attempt(() => session.end(), common.youAreSignedOut)) window.location.reload()
  }

  return (
    <section class='card' aria-labelledby='access'>
      <h2 id='access'>{t.access}</h2>
      <p>{who === undefined ? '' : kinds[who.kind] ?? ''}</p>
      <div class='actions'>
        {who?.kind === 'session' && <button type='button' class='button' onClick={signOut}><Icon name='leave' />{t.signOutHere}</button>}
        <a class='button' href='#/keys'><Icon name='key' />{common.apiKeys}</a>
      </div>
    </section>
  )
}

const sources = { 'command line': t.commandLine, environment: t.environment, file: '.env', default: t.default, here: t.changedHere }

function CurrentSettings ({ settings: all }: { settings: readonly Setting[] }) {
  const [search, setSearch] = useState('')
  const [onlyChanged, setOnlyChanged] = useState(false)
  const wanted = search.trim().toLowerCase()
  const shown = all.filter(({ name, description, source }) =>
    (!onlyChanged || source !== 'default') && `${name} ${description}`.toLowerCase().includes(wanted))
  return (
    <section class='stack' aria-labelledby='in-force'>
      <h2 id='in-force'>{t.currentSettings}</h2>
      <p class='hint'>{t.currentSettingsHint}</p>
      <div class='filters' role='search' aria-label={common.settings}>
        <input
          type='search' aria-label={t.searchSettings} placeholder={t.searchSettings}
          value={search} onInput={event => setSearch(event.currentTarget.value)}
        />
        <label class='check inline'><input
          type='checkbox' checked={onlyChanged}
          onChange={event => setOnlyChanged(event.currentTarget.checked)}
                                    />{t.onlyChangedOnes}
        </label>
      </div>
      <ul class='rows settings-rows'>
        {shown.map(setting => (
          <li key={setting.name}>
            <div><h3><code>{setting.name}</code></h3><p class='hint'>{setting.description}</p></div>
            <div class='setting-value'>
              <p><SettingValue setting={setting} /></p>
              <p class='hint'>{setting.source !== 'default' ? <span class={`status ${setting.source === 'here' ? 'active' : 'still'}`}>{sources[setting.source]}</span> : t.default}</p>
            </div>
          </li>
        ))}
      </ul>
      {shown.length === 0 && <p class='empty'>{t.noSettingMatches}</p>}
    </section>
  )
}

function SettingValue ({ setting: { value, is_secret: isSecret, is_set: isSet } }: { setting: Setting }) {
  if (isSecret) return isSet ? <span class='muted'>{t.setNotShown}</span> : <span class='muted'>{t.empty}</span>
  const text = Array.isArray(value) ? value.join(', ') : String(value)
  return text === '' ? <span class='muted'>{t.empty}</span> : <code>{text}</code>
}
