/**
 * Every page by its name in the address after `#/`, in the order of the navigation. The browser loads a page at its
 * first visit. Pages without an icon are linked from other pages only.
 */
export const pages = {
  queue: { title: 'Queue', icon: 'queue', load: async () => (await import('./queue.js')).QueuePage },
  create: { title: 'Create', icon: 'create', load: async () => (await import('./create.js')).CreatePage },
  gallery: { title: 'Gallery', icon: 'gallery', load: async () => (await import('./gallery.js')).GalleryPage },
  models: { title: 'Models', icon: 'models', load: async () => (await import('./models.js')).ModelsPage },
  servers: { title: 'Servers', icon: 'server', load: async () => (await import('./servers.js')).ServersPage },
  keys: { title: 'API keys', icon: 'key', load: async () => (await import('./keys.js')).KeysPage },
  webhooks: { title: 'Webhooks', icon: 'webhook', load: async () => (await import('./webhooks.js')).WebhooksPage },
  settings: { title: 'Settings', icon: 'settings', load: async () => (await import('./settings.js')).SettingsPage },
  job: { title: 'Job', load: async () => (await import('./job.js')).JobPage }
}

/** Entries in a phone's bar; the others are behind "More". */
export const entriesOnPhone = 4
