import type { FunctionComponent } from 'preact'
import type { Route } from '../lib/router.ts'
import type { Right } from '../lib/caller.ts'
import type { IconName } from '../parts/icon.tsx'
import { QueuePage } from './queue.tsx'
import { common } from '../texts/en/common.ts'

type PageView = FunctionComponent<{ route: Route }>

export interface PageEntry {
  readonly title: string
  readonly icon?: IconName
  /** What a person needs to be able to do for it. */
  readonly right?: Right
  /** The id in the address only opens something in front of the page. */
  readonly keepsView?: boolean
  readonly load: () => Promise<PageView>
}

/**
 * Every page by its name in the address after `#/`, in the order of the navigation. The browser loads a page at its
 * first visit, except for the first one. Pages without an icon are linked from other pages only.
 */
export const pages: Readonly<Record<string, PageEntry>> = {
  queue: { title: common.queue, icon: 'queue', right: 'see_jobs', load: async () => QueuePage },
  create: { title: common.create, icon: 'create', right: 'submit_jobs', load: async () => (await import('./create.tsx')).CreatePage },
  gallery: { title: common.gallery, icon: 'gallery', right: 'see_images', load: async () => (await import('./gallery.tsx')).GalleryPage },
  models: { title: common.models, icon: 'models', right: 'see_models', keepsView: true, load: async () => (await import('./models.tsx')).ModelsPage },
  servers: { title: common.servers, icon: 'server', right: 'see_servers', load: async () => (await import('./servers.tsx')).ServersPage },
  keys: { title: common.apiKeys, icon: 'key', right: 'manage_keys', load: async () => (await import('./keys.tsx')).KeysPage },
  webhooks: { title: common.webhooks, icon: 'webhook', right: 'see_jobs', load: async () => (await import('./webhooks.tsx')).WebhooksPage },
  settings: { title: common.settings, icon: 'settings', right: 'change_queue', load: async () => (await import('./settings.tsx')).SettingsPage },
  access: { title: common.yourAccess, load: async () => (await import('./access.tsx')).AccessPage },
  job: { title: common.job, right: 'see_jobs', load: async () => (await import('./job.tsx')).JobPage }
}

/** Entries in a phone's bar; the others are behind "More". */
export const entriesOnPhone = 4
