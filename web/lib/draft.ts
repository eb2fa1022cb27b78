import type { CreateForm } from './generation.ts'
import type { Sweep } from './sweep.ts'

/**
 * The unfinished form of the Create page. It survives a reload and a closed tab: its texts in the local storage, its
 * images in a database of the browser, which also takes large ones.
 */

const name = 'stablequeue.draft'
const imageNames = ['init_images', 'mask'] as const
type Images = Pick<CreateForm, typeof imageNames[number]>

export interface Draft {
  readonly form: CreateForm
  readonly sweeps: Sweep[]
}

/** The texts of the draft, with the images if the page was there before. */
let keptImages: Images | null = null

/** @param empty the form of a user without a draft */
export function readDraft (empty: CreateForm): Draft {
  try {
    const { form, sweeps = [] } = JSON.parse(window.localStorage.getItem(name) ?? '{}') as Partial<Draft>
    return { form: { ...empty, ...form, ...keptImages ?? { init_images: null, mask: null } }, sweeps }
  } catch {
    return { form: empty, sweeps: [] }
  }
}

/** The images of the draft; null if they are in the form already. */
export async function readDraftImages (): Promise<Images | null> {
  if (keptImages !== null) return null
  const [start, mask] = await withImages('readonly', store => imageNames.map(image => store.get(image)))
  keptImages = { init_images: fileOf(start), mask: fileOf(mask) }
  return keptImages
}

export function keepDraft ({ form, sweeps }: Draft): void {
  const { init_images: start, mask, ...texts } = form
  try {
    window.localStorage.setItem(name, JSON.stringify({ form: texts, sweeps }))
  } catch { /* without storage, the draft lasts as long as the page */ }
  if (start === (keptImages?.init_images ?? null) && mask === (keptImages?.mask ?? null)) return
  keptImages = { init_images: start, mask }
  keep(keptImages).catch(() => {})
}

/** Of a user who signs out. */
export function removeDraft (): void {
  window.localStorage.removeItem(name)
  removeDraftImages()
}

/** Of a draft that another job or image replaces. */
export function removeDraftImages (): void {
  keptImages = { init_images: null, mask: null }
  keep(keptImages).catch(() => {})
}

async function keep (images: Images): Promise<void> {
  await withImages('readwrite', store => imageNames.map(image => store.put(images[image], image)))
}

const fileOf = (value: unknown) => value instanceof File ? value : null

async function withImages (mode: IDBTransactionMode, use: (store: IDBObjectStore) => IDBRequest[]): Promise<unknown[]> {
  const opening = window.indexedDB.open(name, 1)
  opening.onupgradeneeded = () => opening.result.createObjectStore('images')
  const database = await resultOf<IDBDatabase>(opening)
  try {
    return await Promise.all(use(database.transaction('images', mode).objectStore('images')).map(resultOf))
  } finally {
    database.close()
  }
}

async function resultOf<Result> (request: IDBRequest<Result>): Promise<Result> {
  return await new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error ?? new Error(name))
  })
}
