import type { Model, ServiceEvent, ModelType } from '../lib/api-types.ts'
import type { Route } from '../lib/router.ts'
import { useEffect, useState } from 'preact/hooks'
import { useRights, useServers } from '../lib/caller.ts'
import { aboutScanned, aboutServers, seldom, useLive } from '../lib/live.ts'
import { models } from '../lib/model-service.ts'
import { usePreference } from '../lib/preference.ts'
import { cameFrom, pushAddress } from '../lib/place.ts'
import { isPlainClick } from '../lib/viewer.ts'
import { goTo, queryValues, setQuery } from '../lib/router.ts'
import { Downloads } from '../parts/downloads.tsx'
import { Duplicates } from '../parts/duplicates.tsx'
import { Icon } from '../parts/icon.tsx'
import { ModelDetails } from '../parts/model-details.tsx'
import { modelTypes, ModelPreview, typeWord } from '../parts/model-preview.tsx'
import { ModelScan } from '../parts/model-scan.tsx'
import { Loading, PageHead } from '../parts/page-head.tsx'
import { Stale } from '../parts/stale.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/models.ts'

const pageSize = 120
/** As many as one request can answer. */
const mostShown = 10_000

const aboutModels = (event: ServiceEvent) => aboutServers(event) || aboutScanned(event)

/** The models of servers and model folders. */
export function ModelsPage ({ route }: { route: Route }) {
  const { search, type, base, server, shown } = queryValues(route, 'search', 'type', 'base', 'server', 'shown')
  // In the address, so that Back finds the page as long as it was.
  const size = Math.min(Math.max(pageSize, Number(shown) || 0), mostShown)
  const [dialog, setDialog] = useState('')
  const [blurs, setBlurs] = usePreference('blur-nsfw', true)
  const { data, error, reload } = useLive(
    signal => models.list({ search, type: type as ModelType, baseModel: base, server, limit: size }, signal),
    [search, type, base, server, size], { interval: seldom, about: aboutModels })
  const isFiltered = [search, type, base, server].some(value => value !== '')
  const { change_models: changes } = useRights()
  const close = () => setDialog('')

  function closeDetails () {
    if (cameFrom(({ name, id }) => name === route.name && id === '')) window.history.back()
    else goTo(`/models${query(route)}`)
  }

  return (
    <>
      <PageHead title={common.models}>
        <div class='actions'>
          {changes && <button type='button' class='button' onClick={() => setDialog('duplicates')}><Icon name='copy' />{t.duplicates}</button>}
          {changes && <button type='button' class='button primary' onClick={() => setDialog('download')}><Icon name='download' />{t.download}</button>}
        </div>
      </PageHead>
      {changes && <ModelScan onChanged={reload} />}
      <Downloads isAsking={dialog === 'download'} onAsked={close} onChanged={reload} />
      <Filters route={route} search={search} type={type} base={base} server={server} blurs={blurs} onBlur={setBlurs} />
      {data === undefined
        ? <Loading error={error} />
        : (
          <>
            <Stale error={error} />
            <p class='hint' role='status'>{t.modelsTotal(data.total)}</p>
            {data.total === 0 && <p class='empty'>{isFiltered ? t.noModelMatchesThese : t.noModelsYet}</p>}
            <ul class='model-grid'>
              {data.models.map(model => <ModelCard key={model.id} model={model} blurs={blurs} route={route} />)}
            </ul>
            {data.total > data.models.length && size < mostShown && <p><button type='button' class='button' onClick={() => setQuery(route, { shown: String(size + pageSize) })}>{t.showMore}</button></p>}
          </>
          )}
      {dialog === 'duplicates' && <Duplicates onClose={close} onChanged={reload} />}
      {route.id !== '' && (
        <ModelDetails
          key={route.id} id={route.id} blurs={blurs} onChanged={reload}
          onClose={closeDetails}
        />
      )}
    </>
  )
}

const query = ({ query: values }: Route) => values.size === 0 ? '' : `?${values}`

function ModelCard ({ model, blurs, route }: { model: Model, blurs: boolean, route: Route }) {
  const address = `#/models/${model.id}${query(route)}`

  /** In front of the list, which stays where it is. */
  function open (event: MouseEvent) {
    if (!isPlainClick(event)) return
    event.preventDefault()
    pushAddress(address)
    window.dispatchEvent(new window.HashChangeEvent('hashchange'))
  }

  return (
    <li class='model-tile'>
      <a href={address} onClick={open}>
        <ModelPreview model={model} blurs={blurs} />
        <span class='model-tile-name'>{model.name}</span>
      </a>
      <p class='hint'>{[typeWord(model), model.base_model].filter(Boolean).join(' · ')}</p>
      <p class='hint'>{model.servers.length === 0 ? t.onNoServer : model.servers.length > 2 ? t.onServers(model.servers.length) : t.onServersNamed(model.servers.map(({ alias }) => alias).join(', '))}</p>
      {model.is_duplicate && <p class='badge'>{t.copies(model.duplicate_group_size)}</p>}
    </li>
  )
}

/** Base models of all models by their family. */
function familiesOf (all: readonly Model[], chosen: string) {
  const families = new Map<string, Set<string>>()
  const add = (family: string, base: string) => { families.set(family, (families.get(family) ?? new Set()).add(base)) }
  for (const { base_model: base, base_family: family } of all) {
    if (base) add(family ?? t.others, base)
  }
  if (chosen && ![...families.values()].some(bases => bases.has(chosen))) add(t.others, chosen)
  return [...families].map(([family, bases]) => [family, [...bases].sort()] as const)
    .sort(([one], [other]) => one < other ? -1 : 1)
}

function Filters ({ route, search, type, base, server, blurs, onBlur }: {
  route: Route
  search: string
  type: string
  base: string
  server: string
  blurs: boolean
  onBlur: (blurs: boolean) => void
}) {
  const [typed, setTyped] = useState(search)
  const { data: known } = useServers({ interval: null })
  const { data: all } = useLive(signal => models.list({ limit: 10_000 }, signal), [], { interval: null })
  const families = familiesOf(all?.models ?? [], base)
  const aliases = [...new Set([...known?.map(({ alias }) => alias) ?? [], server].filter(Boolean))]
  const countOf = (value: string) => all?.models.filter(model => value === '' || model.type === value).length
  useEffect(() => {
    const timer = setTimeout(() => { if (typed !== search) setQuery(route, { search: typed }) }, 250)
    return () => clearTimeout(timer)
  }, [typed])
  const choice = (name: string, label: string, value: string, values: readonly string[], none: string) => (
    <select aria-label={label} value={value} onChange={event => setQuery(route, { [name]: event.currentTarget.value })}>
      <option value='' selected={value === ''}>{none}</option>
      {values.map(each => <option key={each} value={each} selected={each === value}>{each}</option>)}
    </select>
  )

  return (
    <div class='filters' role='search' aria-label={common.models}>
      <div class='tabs' role='group' aria-label={t.type}>
        {Object.entries({ '': common.all, ...modelTypes }).filter(([value]) => value === type || countOf(value) !== 0).map(([value, label]) => (
          <button
            key={value} type='button' class='tab'
            aria-pressed={type === value ? 'true' : 'false'} onClick={() => setQuery(route, { type: value })}
          >
            {label} <span class='count numbers'>{countOf(value) ?? ''}</span>
          </button>
        ))}
      </div>
      <div class='narrowing'>
        <select
          aria-label={t.baseModel} value={base}
          onChange={event => setQuery(route, { base: event.currentTarget.value })}
        >
          <option value='' selected={base === ''}>{t.allBaseModels}</option>
          {families.map(([family, bases]) => (
            <optgroup key={family} label={family}>
              {bases.map(each => <option key={each} value={each} selected={each === base}>{each}</option>)}
            </optgroup>
          ))}
        </select>
        {choice('server', common.server, server, aliases, common.allServers)}
        <input
          type='search' class='long' aria-label={t.searchModels} placeholder={t.nameTagOrTrigger} value={typed}
          onInput={event => setTyped(event.currentTarget.value)}
        />
        <label class='check inline'><input
          type='checkbox' checked={blurs}
          onChange={event => onBlur(event.currentTarget.checked)}
                                    />{t.blurNsfw}
        </label>
      </div>
    </div>
  )
}
