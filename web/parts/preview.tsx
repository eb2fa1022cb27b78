import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import { emptyIfMissing } from '../lib/images.ts'

/** The unfinished picture of a running job. @param props children: shown until there is one */
export function Preview ({ src, alt, children }: { src: string, alt: string, children: ComponentChildren }) {
  const [isThere, setThere] = useState(false)
  // It can expire before the browser loads it; the next one replaces it.
  return (
    <>
      {!isThere && children}
      <img
        class='preview' hidden={!isThere} src={emptyIfMissing(src)} alt={alt} decoding='async'
        onLoad={() => setThere(true)} onError={() => setThere(false)}
      />
    </>
  )
}
