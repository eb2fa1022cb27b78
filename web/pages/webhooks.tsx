import type { Delivery, DeliveryFilter } from '../lib/api-types.ts'
import type { Route } from '../lib/router.ts'
import { ago } from '../lib/format.ts'
import { useEffect, useState } from 'preact/hooks'
import { aboutDeliveries, often, useLive } from '../lib/live.ts'
import { queryValues, setQuery } from '../lib/router.ts'
import { useCaller } from '../lib/caller.ts'
import { apiKeys } from '../lib/service.ts'
import { webhooks } from '../lib/webhook-service.ts'
import { Deliveries, deliveryStates } from '../parts/deliveries.tsx'
import { Icon } from '../parts/icon.tsx'
import { Loading, PageHead } from '../parts/page-head.tsx'
import { attempt } from '../lib/messages.ts'
import { Stale } from '../parts/stale.tsx'
import { RedeliverAll, TestEndpoint } from '../parts/webhook-dialogs.tsx'
import { WebhookSecrets } from '../parts/webhook-secrets.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/webhooks.ts'

const tabs: Readonly<Record<string, string>> = { '': t.deliveries, endpoints: t.endpoints, secrets: t.secrets }

/** Events that receivers got, and the state of the receivers. */
export function WebhooksPage ({ route }: { route: Route }) {
  const tab = tabs[route.id] === undefined ? '' : route.id
  const { name: own, key_id: ownId, rights } = useCaller()
  const [dialog, setDialog] = useState<{ name: string, url?: string }>({ name: '' })
  const { data: keys } = useLive(
    async signal => rights.manage_keys ? await apiKeys.list(signal) : [], [], { interval: null })
  const nameOf = (id: string | null) => id === null
    ? t.noKey
    : id === ownId ? own : keys?.find(key => key.id === id)?.name ?? t.removedKey
  const [changes, setChanges] = useState(0)
  const close = () => {
    setDialog({ name: '' })
    setChanges(changes + 1)
  }

  return (
    <>
      <PageHead title={common.webhooks}>
        <div class='actions'>
          {rights.submit_jobs && <button type='button' class='button' onClick={() => setDialog({ name: 'again' })}><Icon name='again' />{t.sendFailedAgain}</button>}
          {rights.submit_jobs && <button type='button' class='button primary' onClick={() => setDialog({ name: 'test', url: '' })}><Icon name='plug' />{t.testAddress}</button>}
        </div>
      </PageHead>
      <p class='lead'>{t.jobsWithWebhook(<code>webhookUrl</code>)}</p>
      <nav class='tabs' aria-label={common.webhooks}>
        {Object.entries(tabs).filter(([id]) => id !== 'secrets' || rights.manage_keys).map(([id, label]) => <a key={id} class='tab' href={id === '' ? '#/webhooks' : `#/webhooks/${id}`} aria-current={tab === id ? 'page' : undefined}>{label}</a>)}
      </nav>
      {tab === '' && <DeliveryList route={route} nameOf={nameOf} changes={changes} />}
      {tab === 'endpoints' && <EndpointList
        nameOf={nameOf} changes={changes}
        onTest={url => setDialog({ name: 'test', url })}
                              />}
      {tab === 'secrets' && rights.manage_keys && <WebhookSecrets keys={keys} />}
      {dialog.name === 'test' && <TestEndpoint url={dialog.url ?? ''} onClose={close} />}
      {dialog.name === 'again' && <RedeliverAll onClose={close} />}
    </>
  )
}

const types = ['job.started', 'job.progress', 'job.completed', 'job.failed', 'job.cancelled', 'webhook.test']
const spans = { 1: t.lastHour, 24: t.lastDay, 168: t.lastWeek }
const pageSize = 50
const mostShown = 200

/** @param props increases when another part of the page sends an event */
function DeliveryList ({ route, nameOf, changes }: {
  route: Route
  nameOf: (id: string | null) => string
  changes: number
}) {
  const { state, type, hours, search, endpoint, shown } = queryValues(route, 'state', 'type', 'hours', 'search', 'endpoint', 'shown')
  const [typed, setTyped] = useState(search)
  // In the address, so that Back finds the page as long as it was.
  const size = Math.min(Math.max(pageSize, Number(shown) || 0), mostShown)
  const { data, error, reload } = useLive(signal => webhooks.deliveries({
    ...state !== '' && { state: state as Delivery['state'] },
    ...type !== '' && { type: type as DeliveryFilter['type'] },
    search,
    endpoint,
    limit: size,
    since: hours === '' ? '' : new Date(Date.now() - Number(hours) * 3_600_000).toISOString()
  }, signal), [state, type, hours, search, endpoint, size, changes], { interval: often, about: aboutDeliveries })
  useEffect(() => {
    const timer = setTimeout(() => { if (typed !== search) setQuery(route, { search: typed }) }, 250)
    return () => clearTimeout(timer)
  }, [typed])
  const isFiltered = [state, type, hours, search, endpoint].some(value => value !== '')

  return (
    <>
      <div class='filters' role='search' aria-label={t.deliveries}>
        <div class='tabs' role='group' aria-label={t.state}>
          {['', ...Object.keys(deliveryStates)].map(each => (
            <button
              key={each} type='button' class='tab'
              aria-pressed={state === each ? 'true' : 'false'} onClick={() => setQuery(route, { state: each })}
            >
              {deliveryStates[each]?.[0] ?? common.all}
            </button>
          ))}
        </div>
        <div class='narrowing'>
          <select
            aria-label={t.event} value={type}
            onChange={event => setQuery(route, { type: event.currentTarget.value })}
          >
            <option value='' selected={type === ''}>{t.allEvents}</option>
            {types.map(each => <option key={each} value={each} selected={each === type}>{each}</option>)}
          </select>
          <select
            aria-label={t.time} value={hours}
            onChange={event => setQuery(route, { hours: event.currentTarget.value })}
          >
            <option value='' selected={hours === ''}>{t.anyTime}</option>
            {Object.entries(spans).map(([value, label]) => <option key={value} value={value} selected={value === hours}>{label}</option>)}
          </select>
          <input
            type='search' class='long' aria-label={t.searchDeliveries}
            placeholder={t.addressEventOrJob} value={typed} onInput={event => setTyped(event.currentTarget.value)}
          />
        </div>
      </div>
      {endpoint !== '' && <p class='hint'>{t.ofOneEndpointOnly(words => <a href='#/webhooks'>{words}</a>)}</p>}
      {data === undefined
        ? <Loading error={error} />
        : (
          <>
            <Stale error={error} />
            <Deliveries deliveries={data.deliveries} nameOf={nameOf} onChanged={reload} />
            {data.deliveries.length === 0 && <p class='empty'>{isFiltered ? t.noDeliveryMatchesThese : t.noDeliveriesYetTest}</p>}
            {data.next_cursor !== null && size < mostShown && <p><button type='button' class='button' onClick={() => setQuery(route, { shown: String(size + pageSize) })}>{t.showMore}</button></p>}
          </>
          )}
    </>
  )
}

const health: Readonly<Record<string, readonly [string, string]>> = {
  ok: [t.works, 'good'],
  failing: [t.failing, 'warn'],
  open: [common.inBreak, 'bad'],
  gone: [t.gone, 'bad'],
  disabled: [common.disabled, 'bad']
}

function EndpointList ({ nameOf, changes, onTest }: {
  nameOf: (id: string | null) => string
  changes: number
  onTest: (url: string) => void
}) {
  const { data: endpoints, error, reload } = useLive(signal => webhooks.endpoints(signal), [changes], {
    interval: often, about: aboutDeliveries
  })
  if (endpoints === undefined) return <Loading error={error} />
  if (endpoints.length === 0) return <p class='empty'>{t.noAddressWasCalled}</p>

  async function enable (id: string) {
    await attempt(() => webhooks.enable(id), t.endpointIsEnabledAgain)
    reload()
  }

  return (
    <ul class='cards'>
      {endpoints.map(endpoint => (
        <li key={endpoint.id} class='card'>
          <div class='card-head'><h2 class='endpoint-url'>{endpoint.url}</h2><span class={`status ${health[endpoint.state]?.[1]}`}>{health[endpoint.state]?.[0] ?? endpoint.state}</span></div>
          <dl class='facts-list'>
            <div><dt>{t.key}</dt><dd>{nameOf(endpoint.api_key_id)}</dd></div>
            <div><dt>{t.lastSuccess}</dt><dd>{ago(endpoint.last_success_at)}</dd></div>
            <div><dt>{t.lastUsed}</dt><dd>{ago(endpoint.last_used_at)}</dd></div>
            {endpoint.consecutive_failures > 0 && <div><dt>{common.failed}</dt><dd>{t.failedInRow({ consecutiveFailures: endpoint.consecutive_failures, when: ago(endpoint.failing_since) })}</dd></div>}
            {endpoint.next_try_at !== null && <div><dt>{t.nextTry}</dt><dd>{ago(endpoint.next_try_at)}</dd></div>}
          </dl>
          <div class='actions'>
            <a class='button' href={`#/webhooks?endpoint=${endpoint.id}`}>{t.deliveries}</a>
            <button
              type='button' class='button' aria-label={t.testUrl(endpoint.url)}
              onClick={() => onTest(endpoint.url)}
            >{t.test}
            </button>
            {['open', 'gone', 'disabled'].includes(endpoint.state) && <button type='button' class='button' aria-label={t.enableUrl(endpoint.url)} onClick={() => enable(endpoint.id)}>{t.enable}</button>}
          </div>
        </li>
      ))}
    </ul>
  )
}
