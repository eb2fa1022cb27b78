import { useState } from 'preact/hooks'
import { addressWith, setQuery, type Route } from './router.ts'
import { cameFrom, pushAddress } from './place.ts'

/** Which image a page shows large. */
export interface Viewer {
  /** Name of the file; empty: none. */
  readonly open: string
  readonly addressOf: (filename: string) => string
  readonly show: (filename: string) => void
  readonly close: () => void
}

/** The viewer of a page in its address, so that a link leads to an image, and Back closes it. */
export function useViewer (route: Route): Viewer {
  const open = route.query.get('image') ?? ''
  return {
    open,
    addressOf: filename => addressWith(route, { image: filename }),
    show (filename: string) {
      if (open !== '') return setQuery(route, { image: filename })
      pushAddress(addressWith(route, { image: filename }))
      window.dispatchEvent(new window.HashChangeEvent('hashchange'))
    },
    close () {
      const isBehind = cameFrom(({ name, id, query }) => name === route.name && id === route.id && !query.has('image'))
      if (isBehind) window.history.back()
      else setQuery(route, { image: '' })
    }
  }
}

/** The viewer of images of one job on a page about several. */
export function useLocalViewer (jobId: string): Viewer {
  const [open, setOpen] = useState('')
  return {
    open,
    addressOf: filename => `#/job/${jobId}?image=${encodeURIComponent(filename)}`,
    show: setOpen,
    close: () => setOpen('')
  }
}

/** Whether a click is meant for this tab; otherwise the browser opens the link elsewhere. */
export function isPlainClick ({ ctrlKey, metaKey, shiftKey, altKey, button }: MouseEvent) {
  return button === 0 && !ctrlKey && !metaKey && !shiftKey && !altKey
}
