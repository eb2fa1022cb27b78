import type { ButtonHTMLAttributes } from 'preact'
import { useOnce } from '../lib/once.ts'

/** A button that makes one action of a double click. @param props act returns whether a second click does harm */
export function OnceButton ({ act, children, ...attributes }: ButtonHTMLAttributes & { act: () => Promise<boolean> }) {
  const { busy, once } = useOnce()
  // A disabled button would lose the focus.
  return <button type='button' {...attributes} aria-busy={busy ? 'true' : undefined} onClick={() => once(act)}>{children}</button>
}
