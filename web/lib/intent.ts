import type { CreateForm } from './generation.ts'
import type { Draft } from './draft.ts'

/**
 * What one click of the Create page asks for. It lasts until the service has accepted all of it or the draft changes:
 * the next click after a lost answer, a proxy's error or a reload is the same wish, and makes no further job. Each tab
 * has its own.
 */
export interface Intent {
  /** The beginning of the `Idempotency-Key` of each job. */
  readonly key: string
  /** The seed of the jobs that differ in other parameters. */
  readonly seed: string
  /** The group of several jobs. */
  readonly group: string
}

const name = 'stablequeue.intent'

/** An intent that has not been accepted whole, and the draft that it is about. */
let open: { content: string, intent: Intent } | null = read()

/**
 * The intent of this draft: the one that is open, if it is about the same, otherwise a new one.
 * @param seed of a new one
 */
export function intentOf ({ form, sweeps }: Draft, seed: string): Intent {
  const { init_images: start, mask, ...texts } = form
  const content = JSON.stringify([texts, sweeps, ...[start, mask].map(aboutFile)])
  if (open?.content === content) return open.intent
  const intent = { key: newKey(), seed, group: `sweep-${newKey().slice(0, 16)}` }
  keep({ content, intent })
  return intent
}

/** The service accepted all of it: the next click is a new intent. Also for a user who signs out. */
export function endIntent (): void {
  keep(null)
}

/** A random key. Browsers offer crypto.randomUUID only to pages of HTTPS. */
export function newKey (): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, '0')).join('')
}

/** A file that was read again from the draft is another object. */
function aboutFile (file: CreateForm['mask']) {
  return file && [file.name, file.size, file.lastModified]
}

function keep (next: typeof open): void {
  open = next
  try {
    if (next === null) window.sessionStorage.removeItem(name)
    else window.sessionStorage.setItem(name, JSON.stringify(next))
  } catch { /* without storage, it lasts as long as the page */ }
}

function read (): typeof open {
  try {
    return JSON.parse(window.sessionStorage.getItem(name) ?? 'null') as typeof open
  } catch {
    return null
  }
}
