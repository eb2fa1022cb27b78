import type { Route } from '../lib/router.ts'
import type { GalleryImage, Model } from '../lib/api-types.ts'
import { useGallery } from '../lib/gallery-feed.ts'
import { gallery } from '../lib/gallery-service.ts'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { useMayChange, useRights, useServers } from '../lib/caller.ts'
import { useLive } from '../lib/live.ts'
import { attempt, complain, say } from '../lib/messages.ts'
import { models } from '../lib/model-service.ts'
import { queryValues, setQuery } from '../lib/router.ts'
import { useViewer } from '../lib/viewer.ts'
import { Confirm } from '../parts/dialog.tsx'
import { Icon } from '../parts/icon.tsx'
import { ImageViewer } from '../parts/image-viewer.tsx'
import { Loading, PageHead } from '../parts/page-head.tsx'
import { Stale } from '../parts/stale.tsx'
import { Tiles } from '../parts/tiles.tsx'
import { ServerFilter } from '../parts/server-filter.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/gallery.ts'

/** All images, newest first. */
export function GalleryPage ({ route }: { route: Route }) {
  const { search, model, server, day } = queryValues(route, 'search', 'model', 'server', 'day')
  const filter = useMemo(() => ({ search, model, server, ...spanOf(day) }), [search, model, server, day])
  const { images, hasMore, error, more, forget } = useGallery(filter)
  const viewer = useViewer(route)
  const isListed = images?.some(({ filename }) => filename === viewer.open) === true
  const wanted = viewer.open !== '' && images !== undefined && !isListed ? viewer.open : ''
  const { data: found, error: missing } = useLive(
    async signal => wanted === '' ? undefined : await gallery.find(wanted, signal), [wanted], { interval: null })
  // The image of a link can be beyond the pages that were read, or outside the filters.
  const shown = isListed ? images ?? [] : wanted !== '' && found?.filename === wanted ? [found] : []
  const open = shown.findIndex(({ filename }) => filename === viewer.open)
  const [toDelete, setToDelete] = useState<string[]>([])
  const selection = useChoice(images)
  const isFiltered = [search, model, server, day].some(value => value !== '')

  async function remove () {
    const names = toDelete
    setToDelete([])
    if (!await attempt(() => gallery.removeMany(names))) return
    forget(names)
    selection.forget(names)
    if (!names.includes(viewer.open)) return
    const others = [...shown.slice(open + 1), ...shown.slice(0, open).toReversed()]
    const next = others.find(({ filename }) => !names.includes(filename))
    if (next === undefined) viewer.close()
    else viewer.show(next.filename)
  }

  const mayChange = useMayChange()
  const onDelete = (image: GalleryImage) => { if (mayChange(image)) setToDelete([image.filename]) }
  const shownLarge = shown[open]
  const isNearEnd = isListed && open > shown.length - 20
  useEffect(() => { if (isNearEnd && hasMore) more() }, [isNearEnd, hasMore, shown.length])

  return (
    <>
      <PageHead title={common.gallery} />
      <Filters route={route} search={search} model={model} server={server} day={day} />
      {images === undefined
        ? <Loading error={error} />
        : (
          <>
            <Stale error={error} />
            <p class='out-of-sight' role='status'>{hasMore ? t.imagesAndMore(images.length) : t.imagesCount(images.length)}</p>
            {images.length === 0 && !hasMore && (
              <div class='empty'>
                {isFiltered
                  ? t.noImageMatchesThese
                  : t.imagesAppearHere(link => <a href='#/create'>{link}</a>)}
              </div>
            )}
            <Tiles
              images={images} hasMore={hasMore} selection={selection} viewer={viewer} onMore={more} onDelete={onDelete}
            />
            {hasMore && <p class='muted' role='status'>{t.loadingMore}</p>}
          </>
          )}
      <ChosenBar selection={selection} images={images ?? []} onDelete={() => setToDelete([...selection.names])} />
      {shownLarge !== undefined && (
        <ImageViewer images={shown} index={open} viewer={viewer} onDelete={mayChange(shownLarge) ? onDelete : undefined} />
      )}
      {wanted !== '' && missing !== null && <Loading error={missing} sentence={t.imageOfThisLink} />}
      {toDelete.length > 0 && (
        <Confirm
          title={toDelete.length === 1 ? t.deleteThisImage : t.deleteImages(toDelete.length)}
          sentence={toDelete.length === 1 ? t.thisPermanentlyDeletesImage : t.thisPermanentlyDeletesImages}
          action={common.delete} onConfirm={remove} onClose={() => setToDelete([])}
        />
      )}
    </>
  )
}

/** From the beginning of a day in the browser's time zone to its end. */
function spanOf (day: string) {
  const since = new Date(`${day}T00:00:00`)
  if (day === '' || Number.isNaN(since.getTime())) return {}
  const until = new Date(since)
  until.setDate(until.getDate() + 1)
  return { since: since.toISOString(), until: until.toISOString() }
}

/** The selected images of the page. */
export interface Chosen {
  readonly names: ReadonlySet<string>
  readonly has: (name: string) => boolean
  readonly clear: () => void
  readonly forget: (gone: readonly string[]) => void
  readonly chooseAll: () => void
  readonly toggle: (index: number, withShift: boolean) => void
}

/** The selected images; Shift selects every image since the last selection. */
function useChoice (images: readonly GalleryImage[] = []): Chosen {
  const [names, setNames] = useState<ReadonlySet<string>>(new Set())
  const [anchor, setAnchor] = useState<number | null>(null)
  return {
    names,
    has: name => names.has(name),
    clear () {
      setNames(new Set())
      setAnchor(null)
    },
    forget (gone: readonly string[]) { setNames(before => new Set([...before].filter(name => !gone.includes(name)))) },
    chooseAll () { setNames(new Set(images.map(({ filename }) => filename))) },
    toggle (index: number, withShift: boolean) {
      const next = new Set(names)
      const filename = images[index]?.filename ?? ''
      if (withShift && anchor !== null) {
        const [from, to] = [Math.min(anchor, index), Math.max(anchor, index)]
        for (const image of images.slice(from, to + 1)) next.add(image.filename)
      } else if (next.has(filename)) next.delete(filename)
      else next.add(filename)
      setAnchor(index)
      setNames(next)
    }
  }
}

function Filters ({ route, search, model, server, day }: {
  route: Route
  search: string
  model: string
  server: string
  day: string
}) {
  const { data: known } = useServers({ interval: null })
  const { data: found } = useLive(signal => models.list({ limit: 1000 }, signal), [], { interval: null })
  const names = [...new Set(found?.models.filter(({ type }) => ['checkpoint', 'lora'].includes(type)).map(bareName))]
  const aliases = [...new Set([...known?.map(({ alias }) => alias) ?? [], server].filter(Boolean))]
  return (
    <div class='filters' role='search' aria-label={t.images}>
      <TypedFilter route={route} name='search' value={search} label={t.searchPrompts} />
      <TypedFilter
        route={route} name='model' value={model} label={t.checkpointOrLoRA}
        list='gallery-models' class='long'
      />
      <datalist id='gallery-models'>{names.map(name => <option key={name} value={name} />)}</datalist>
      <ServerFilter route={route} value={server} aliases={aliases} />
      <label class='filter-day'><span>{t.day}</span>
        <input type='date' value={day} onChange={event => setQuery(route, { day: event.currentTarget.value })} />
      </label>
    </div>
  )
}

/** Applies the text when the user pauses. */
function TypedFilter ({ route, name, value, label, ...rest }: {
  route: Route
  name: string
  value: string
  label: string
  list?: string
  class?: string
}) {
  const [typed, setTyped] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => { if (typed !== value) setQuery(route, { [name]: typed }) }, 300)
    return () => clearTimeout(timer)
  }, [typed])
  return (
    <input
      type='search' aria-label={label} placeholder={label} value={typed} {...rest}
      onInput={event => setTyped(event.currentTarget.value)}
    />
  )
}

function bareName ({ filename }: Model) {
  return filename.replace(/\.(safetensors|ckpt|pt|pth|bin)$/, '')
}

/** Actions for the selected images. */
function ChosenBar ({ selection, images, onDelete }: {
  selection: Chosen
  images: readonly GalleryImage[]
  onDelete: () => void
}) {
  const { submit_jobs: deletes } = useRights()
  const [withParameters, setWithParameters] = useState(true)
  const [busy, setBusy] = useState(false)
  const count = selection.names.size
  if (count === 0) return null

  async function download () {
    setBusy(true)
    try {
      const { url } = await gallery.createZip([...selection.names], withParameters)
      const link = document.createElement('a')
      link.href = url
      link.download = ''
      link.click()
      say(t.downloadHasStarted)
    } catch (error) {
      complain(error)
    }
    setBusy(false)
  }

  return (
    <div class='selection' role='region' aria-label={t.chosenImages}>
      <p>{t.imagesChosen({ count, strong: words => <strong class='numbers'>{words}</strong> })}</p>
      <div class='actions'>
        {count < images.length && <button type='button' class='button quiet' onClick={selection.chooseAll}>{t.chooseAllShown(images.length)}</button>}
        <label class='check inline'><input
          type='checkbox' checked={withParameters}
          onChange={event => setWithParameters(event.currentTarget.checked)}
                                    />{t.withParameters}
        </label>
        <button type='button' class='button primary' disabled={busy} onClick={download}><Icon name='download' />{t.downloadZip}</button>
        {deletes && <button type='button' class='button' onClick={onDelete}><Icon name='bin' />{common.delete}</button>}
        <button
          type='button' class='button quiet icon-only' aria-label={t.chooseNone}
          title={t.chooseNone} onClick={selection.clear}
        >
          <Icon name='close' />
        </button>
      </div>
    </div>
  )
}
