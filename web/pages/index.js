/**
 * Every page by the name that its address has after `#/`, in the order of the navigation. A page is fetched when it is
 * first visited; one without an icon is reached from other pages.
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

/** How many entries a phone shows beside each other; the others are behind "More". */
export const entriesOnPhone = 4
