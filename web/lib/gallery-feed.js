import { onEvent } from './events.js'
import { gallery } from './gallery-service.js'
import { useCallback, useEffect, useRef, useState } from './html.js'

const pageSize = 120
/** Events within this time lead to one request, in milliseconds. */
const gather = 400
const relevantKinds = new Set(['image', 'completed', 'cancelled', 'failed', 'removed', 'image-removed', 'reset'])

/** The newest page merged with the known images: images in its time span that it does not list are deleted. */
export function merge (newest, before) {
  const last = newest.at(-1)
  if (last === undefined) return []
  const names = new Set(newest.map(({ filename }) => filename))
  const older = before.filter(image => !names.has(image.filename) && image.accepted_at < last.accepted_at)
  return [...newest, ...older]
}

/**
 * The images that match, page by page; new ones appear without a reload.
 * @param {{ search: string, model: string, server: string, since?: string, until?: string }} filter
 * @returns {{ images: object[] | undefined, hasMore: boolean, error: unknown, more: () => void,
 *   forget: (names: string[]) => void, reload: () => void }} images is undefined until the first answer
 */
export function useGallery (filter) {
  const [state, setState] = useState({ images: undefined, cursor: null, error: null })
  const key = JSON.stringify(filter)
  const feed = useRef(null)

  useEffect(() => {
    setState({ images: undefined, cursor: null, error: null })
    feed.current = followGallery(filter, setState)
    return () => feed.current.close()
  }, [key])

  return {
    images: state.images,
    hasMore: state.cursor !== null,
    error: state.error,
    more: useCallback(() => feed.current.more(), []),
    forget: useCallback(names => {
      const gone = new Set(names)
      setState(before => ({ ...before, images: before.images?.filter(({ filename }) => !gone.has(filename)) }))
    }, []),
    reload: () => feed.current.reload()
  }
}

/** Reads one view of the gallery, one request at a time: the newest page after events, further pages on request. */
function followGallery (filter, setState) {
  const stop = new AbortController()
  const set = update => { if (!stop.signal.aborted) setState(update) }
  let cursor
  let isAsking = false
  let wantsNewest = true
  let wantsMore = false
  let timer

  async function readNewest () {
    const found = await gallery.page({ ...filter, limit: pageSize }, stop.signal)
    const isAll = cursor === undefined || found.next_cursor === null
    // Pages beyond the newest one stay.
    if (isAll) cursor = found.next_cursor
    set(({ images = [] }) => ({ images: isAll ? found.images : merge(found.images, images), cursor, error: null }))
  }

  async function readMore () {
    const found = await gallery.page({ ...filter, limit: pageSize, cursor }, stop.signal)
    cursor = found.next_cursor
    set(({ images = [] }) => ({ images: [...images, ...found.images], cursor, error: null }))
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
