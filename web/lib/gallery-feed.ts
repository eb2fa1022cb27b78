import type { GalleryFilter, GalleryImage } from './api-types.ts'
import { onEvent } from './events.ts'
import { gallery } from './gallery-service.ts'
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'

const pageSize = 120
/** The most that the service lists at once. */
const largestPage = 500
/** How many images each view had, so that coming back to it shows as many at once. */
const lengths = new Map<string, number>()
/** Events within this time lead to one request, in milliseconds. */
const gather = 400
const relevantKinds = new Set(['image', 'completed', 'cancelled', 'failed', 'removed', 'image-removed', 'reset'])

interface GalleryState {
  /** Undefined until the first answer. */
  readonly images: GalleryImage[] | undefined
  readonly cursor: string | null
  readonly error: unknown
}

/** The newest page merged with the known images: images in its time span that it does not list are deleted. */
export function merge (newest: readonly GalleryImage[], before: readonly GalleryImage[]) {
  const last = newest.at(-1)
  if (last === undefined) return []
  const names = new Set(newest.map(({ filename }) => filename))
  const older = before.filter(image => !names.has(image.filename) && image.accepted_at < last.accepted_at)
  return [...newest, ...older]
}

/**
 * The images that match, page by page; new ones appear without a reload.
 * @returns images is undefined until the first answer
 */
export function useGallery (filter: GalleryFilter) {
  const [state, setState] = useState<GalleryState>({ images: undefined, cursor: null, error: null })
  const key = JSON.stringify(filter)
  const feed = useRef<ReturnType<typeof followGallery>>(null)

  useEffect(() => {
    setState({ images: undefined, cursor: null, error: null })
    const current = followGallery(filter, Math.min(largestPage, lengths.get(key) ?? 0), setState)
    feed.current = current
    return () => current.close()
  }, [key])

  useEffect(() => { if (state.images !== undefined) lengths.set(key, state.images.length) }, [state.images])

  return {
    images: state.images,
    hasMore: state.cursor !== null,
    error: state.error,
    more: useCallback(() => feed.current?.more(), []),
    forget: useCallback((names: readonly string[]) => {
      const gone = new Set(names)
      setState(before => ({ ...before, images: before.images?.filter(({ filename }) => !gone.has(filename)) }))
    }, []),
    reload: () => feed.current?.reload()
  }
}

/** Reads one view of the gallery, one request at a time: the newest page after events, further pages on request. */
function followGallery (
  filter: GalleryFilter, atFirst: number, setState: (update: (before: GalleryState) => GalleryState) => void
) {
  const stop = new AbortController()
  const set = (update: (before: GalleryState) => GalleryState) => { if (!stop.signal.aborted) setState(update) }
  let cursor: string | null | undefined
  let isAsking = false
  let wantsNewest = true
  let wantsMore = false
  let timer: ReturnType<typeof setTimeout> | undefined

  async function readNewest () {
    const limit = cursor === undefined ? Math.max(pageSize, atFirst) : pageSize
    const found = await gallery.page({ ...filter, limit }, stop.signal)
    const isAll = cursor === undefined || found.next_cursor === null
    // Pages beyond the newest one stay.
    if (isAll) cursor = found.next_cursor
    set(({ images = [] }) => ({
      images: isAll ? found.images : merge(found.images, images), cursor: cursor ?? null, error: null
    }))
  }

  async function readMore () {
    const found = await gallery.page({ ...filter, limit: pageSize, ...cursor && { cursor } }, stop.signal)
    cursor = found.next_cursor
    set(({ images = [] }) => ({ images: [...images, ...found.images], cursor: found.next_cursor, error: null }))
  }

  async function ask () {
    if (isAsking || stop.signal.aborted) return
    isAsking = true
    try {
      while (wantsNewest || (wantsMore && cursor)) {
        const read = wantsNewest ? readNewest : readMore
        if (wantsNewest) wantsNewest = false
        else wantsMore = false
        await read()
      }
    } catch (error) {
      set(before => ({ ...before, error }))
    }
    isAsking = false
  }

  function reload () {
    wantsNewest = true
    ask()
  }

  const onVisible = () => { if (!document.hidden) reload() }
  const stopListening = onEvent(({ kind }) => {
    if (!relevantKinds.has(kind)) return
    timer ??= setTimeout(() => {
      timer = undefined
      onVisible()
    }, gather)
  })
  document.addEventListener('visibilitychange', onVisible)
  ask()

  return {
    reload,
    more () {
      wantsMore = true
      ask()
    },
    close () {
      stop.abort()
      clearTimeout(timer)
      stopListening()
      document.removeEventListener('visibilitychange', onVisible)
    }
  }
}
