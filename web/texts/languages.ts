import type { common } from './en/common.ts'
import type { t as create } from './en/create.ts'
import type { t as gallery } from './en/gallery.ts'
import type { t as job } from './en/job.ts'
import type { t as keys } from './en/keys.ts'
import type { t as models } from './en/models.ts'
import type { t as queue } from './en/queue.ts'
import type { t as servers } from './en/servers.ts'
import type { t as settings } from './en/settings.ts'
import type { t as webhooks } from './en/webhooks.ts'
import type { Forms } from './forms.ts'

/** All texts of the pages, by section. A section is loaded with the pages that use it. */
export interface Catalogue {
  readonly common: typeof common
  readonly create: typeof create
  readonly gallery: typeof gallery
  readonly job: typeof job
  readonly keys: typeof keys
  readonly models: typeof models
  readonly queue: typeof queue
  readonly servers: typeof servers
  readonly settings: typeof settings
  readonly webhooks: typeof webhooks
}

/**
 * A language besides English has every text of every section, or does not compile. Its file imports only types: the
 * pages wait for it before they evaluate their own modules.
 * @param english the same section, for texts that a language takes over, such as names
 */
export type Language = {
  readonly [Section in keyof Catalogue]: (forms: Forms, english: Catalogue[Section]) => Catalogue[Section]
}

export interface LanguageEntry {
  /** In the language itself. */
  readonly name: string
  readonly load: () => Promise<{ default: Language }>
}

/**
 * The languages besides English, by their BCP 47 tag, such as
 * `de: { name: 'Deutsch', load: async () => await import('./de.ts') }`.
 */
export const languages: Readonly<Record<string, LanguageEntry>> = {}
