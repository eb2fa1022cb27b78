import { sentenceOf } from '../lib/api.js'
import { plural } from '../lib/format.js'
import { useGallery } from '../lib/gallery-feed.js'
import { gallery } from '../lib/gallery-service.js'
import { html, useCallback, useEffect, useMemo, useState } from '../lib/html.js'
import { useLive } from '../lib/live.js'
import { attempt, complain, say } from '../lib/messages.js'
import { models } from '../lib/model-service.js'
import { setQuery } from '../lib/router.js'
import { servers } from '../lib/service.js'
import { Confirm } from '../parts/dialog.js'
import { Icon } from '../parts/icon.js'
import { ImageViewer } from '../parts/image-viewer.js'
import { Loading, PageHead } from '../parts/page-head.js'
import { Stale } from '../parts/stale.js'
import { Tiles } from '../parts/tiles.js'

/** All images, newest first. */
export function GalleryPage ({ route }) {
  const [search, model, server, day] = ['search', 'model', 'server', 'day'].map(name => route.query.get(name) ?? '')
  const filter = useMemo(() => ({ search, model, server, ...spanOf(day) }), [search, model, server, day])
  const { images, hasMore, error, more, forget } = useGallery(filter)
  const [open, setOpen] = useState(null)
  const [toDelete, setToDelete] = useState([])
  const selection = useChoice(images)
  const isFiltered = [search, model, server, day].some(value => value !== '')

  async function remove () {
    const names = toDelete
    setToDelete([])
    if (!await attempt(() => gallery.removeMany(names))) return
    forget(names)
    selection.forget(names)
    const left = images.length - names.length
    setOpen(before => before === null || left === 0 ? null : Math.min(before, left - 1))
  }

  const onDelete = useCallback(image => setToDelete([image.filename]), [])
  const askFor = index => {
    setOpen(index)
    if (index > images.length - 20) more()
  }

  return html`
    <${PageHead} title="Gallery" />
    <${Filters} route=${route} search=${search} model=${model} server=${server} day=${day} />
    ${images === undefined
      ? html`<${Loading} error=${error} sentence=${error && sentenceOf(error)} />`
      : html`
        <${Stale} error=${error} />
        <p class="out-of-sight" role="status">${hasMore ? `${images.length} images and more` : plural(images.length, 'image')}</p>
        ${images.length === 0 && !hasMore && html`
          <div class="empty">
            ${isFiltered ? 'No image matches these filters.' : html`Images appear here when jobs complete. <a href="#/create">Create one</a>`}
          </div>`}
        <${Tiles} images=${images} hasMore=${hasMore} selection=${selection} onMore=${more} onOpen=${askFor} onDelete=${onDelete} />
        ${hasMore && html`<p class="muted" role="status">Loading more…</p>`}`}
    <${ChosenBar} selection=${selection} images=${images ?? []} onDelete=${() => setToDelete([...selection.names])} />
    ${open !== null && images?.[open] !== undefined && html`
      <${ImageViewer} images=${images} index=${open} onIndex=${askFor} onDelete=${onDelete} onClose=${() => setOpen(null)} />`}
    ${toDelete.length > 0 && html`
      <${Confirm} title=${toDelete.length === 1 ? 'Delete this image?' : `Delete ${plural(toDelete.length, 'image')}?`}
        sentence=${toDelete.length === 1 ? 'This permanently deletes the image; its job stays.' : 'This permanently deletes the images; their jobs stay.'}
        action="Delete" onConfirm=${remove} onClose=${() => setToDelete([])} />`}`
}

/** From the beginning of a day in the browser's time zone to its end. */
function spanOf (day) {
  const since = new Date(`${day}T00:00:00`)
  if (day === '' || Number.isNaN(since.getTime())) return {}
  const until = new Date(since)
  until.setDate(until.getDate() + 1)
  return { since: since.toISOString(), until: until.toISOString() }
}

/** The selected images; Shift selects every image since the last selection. */
function useChoice (images = []) {
  const [names, setNames] = useState(new Set())
  const [anchor, setAnchor] = useState(null)
  return {
    names,
    has: name => names.has(name),
    clear () {
      setNames(new Set())
      setAnchor(null)
    },
    forget (gone) { setNames(before => new Set([...before].filter(name => !gone.includes(name)))) },
    chooseAll () { setNames(new Set(images.map(({ filename }) => filename))) },
    toggle (index, withShift) {
      const next = new Set(names)
      const { filename } = images[index]
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

function Filters ({ route, search, model, server, day }) {
  const { data: known } = useLive(signal => servers.list(signal), [], { interval: null })
  const { data: found } = useLive(signal => models.list({ limit: 1000 }, signal), [], { interval: null })
  const names = [...new Set(found?.models.filter(({ type }) => ['checkpoint', 'lora'].includes(type)).map(bareName))]
  const aliases = [...new Set([...known?.map(({ alias }) => alias) ?? [], server].filter(Boolean))]
  return html`
    <div class="filters" role="search" aria-label="Images">
      <${TypedFilter} route=${route} name="search" value=${search} label="Search prompts" type="search" />
      <${TypedFilter} route=${route} name="model" value=${model} label="Checkpoint or LoRA" type="search" list="gallery-models" class="long" />
      <datalist id="gallery-models">${names.map(name => html`<option key=${name} value=${name} />`)}</datalist>
      <select aria-label="Server" value=${server} onChange=${event => setQuery(route, { server: event.currentTarget.value })}>
        <option value="" selected=${server === ''}>All servers</option>
        ${aliases.map(alias => html`<option key=${alias} value=${alias} selected=${alias === server}>${alias}</option>`)}
      </select>
      <label class="filter-day"><span>Day</span>
        <input type="date" value=${day} onChange=${event => setQuery(route, { day: event.currentTarget.value })} />
      </label>
    </div>`
}

/** Applies the text when the user pauses. */
function TypedFilter ({ route, name, value, label, ...rest }) {
  const [typed, setTyped] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => { if (typed !== value) setQuery(route, { [name]: typed }) }, 300)
    return () => clearTimeout(timer)
  }, [typed])
  return html`
    <input aria-label=${label} placeholder=${label} value=${typed} ...${rest} onInput=${event => setTyped(event.currentTarget.value)} />`
}

function bareName ({ filename }) {
  return filename.replace(/\.(safetensors|ckpt|pt|pth|bin)$/, '')
}

/** Actions for the selected images. */
function ChosenBar ({ selection, images, onDelete }) {
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
      say('The download has started.')
    } catch (error) {
      complain(error)
    }
    setBusy(false)
  }

  return html`
    <div class="selection" role="region" aria-label="Chosen images">
      <p><strong class="numbers">${plural(count, 'image')}</strong> chosen</p>
      <div class="actions">
        ${count < images.length && html`
          <button type="button" class="button quiet" onClick=${selection.chooseAll}>Choose all ${images.length} shown</button>`}
        <label class="check inline"><input type="checkbox" checked=${withParameters}
          onChange=${event => setWithParameters(event.currentTarget.checked)} />with parameters</label>
        <button type="button" class="button primary" disabled=${busy} onClick=${download}><${Icon} name="download" />Download zip</button>
        <button type="button" class="button" onClick=${onDelete}><${Icon} name="bin" />Delete</button>
        <button type="button" class="button quiet icon-only" aria-label="Choose none" title="Choose none" onClick=${selection.clear}>
          <${Icon} name="close" />
        </button>
      </div>
    </div>`
}
