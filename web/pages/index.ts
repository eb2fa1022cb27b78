import type { FunctionComponent } from 'preact'
import type { Route } from '../lib/router.ts'
import type { IconName } from '../parts/icon.tsx'
import { QueuePage } from './queue.tsx'

type PageView = FunctionComponent<{ route: Route }>

export interface PageEntry {
  readonly title: string
  readonly icon?: IconName
  readonly load: () => Promise<PageView>
}

/**
 * Every page by its name in the address after `#/`, in the order of the navigation. The browser loads a page at its
 * first visit, except for the first one. Pages without an icon are linked from other pages only.
 */
export const pages: Readonly<Record<string, PageEntry>> = {
  queue: { title: 'Queue', icon: 'queue', load: async () => QueuePage },
  create: { title: 'Create', icon: 'create', load: async () => (await import('./create.tsx')).CreatePage },
  gallery: { title: 'Gallery', icon: 'gallery', load: async () => (await import('./gallery.tsx')).GalleryPage },
  models: { title: 'Models', icon: 'models', load: async () => (await import('./models.tsx')).ModelsPage },
  servers: { title: 'Servers', icon: 'server', load: async () => (await import('./servers.tsx')).ServersPage },
  keys: { title: 'API keys', icon: 'key', load: async () => (await import('./keys.tsx')).KeysPage },
  webhooks: { title: 'Webhooks', icon: 'webhook', load: async () => (await import('./webhooks.tsx')).WebhooksPage },
  settings: { title: 'Settings', icon: 'settings', load: async () => (await import('./settings.tsx')).SettingsPage },
  job: { title: 'Job', load: async () => (await import('./job.tsx')).JobPage }
}

/** Entries in a phone's bar; the others are behind "More". */
export const entriesOnPhone = 4
