/**
 * Starts the installed app without the service: it keeps the files of the UI, which hold no data, and nothing of the
 * API. It also shows notifications on phones, where pages cannot.
 */
declare const self: ServiceWorkerGlobalScope

/** Filled in by src/build-web.mjs: the files of the first page, relative to the scope, and a name for this build. */
declare const firstFiles: readonly string[]
declare const version: string

const { scope } = self.registration
/** Installations below different paths share the caches of their origin. */
const ofScope = `stablequeue:${scope}:`
const cacheName = ofScope + version

self.addEventListener('install', event => { event.waitUntil(keepFirstFiles()) })
self.addEventListener('activate', event => { event.waitUntil(removeFormerFiles()) })
self.addEventListener('fetch', event => {
  const { method, mode, url } = event.request
  const address = url.replace(/[?#].*/, '')
  if (method !== 'GET') return
  if (mode === 'navigate' && address === scope) event.respondWith(answerPage(event.request))
  // Their names contain the hash of their content; this file and others outside are left alone.
  else if (address.startsWith(`${scope}ui/`) && /-[\w-]{8}\.\w+$/.test(address)) event.respondWith(answerFile(event.request))
})
self.addEventListener('notificationclick', event => {
  event.notification.close()
  event.waitUntil(showPage())
})

async function keepFirstFiles () {
  const cache = await caches.open(cacheName)
  await cache.add(new Request(scope, { cache: 'reload' }))
  await cache.addAll(firstFiles.map(file => scope + file))
  await self.skipWaiting()
}

async function removeFormerFiles () {
  const former = (await caches.keys()).filter(name => name.startsWith(ofScope) && name !== cacheName)
  await Promise.all(former.map(name => caches.delete(name)))
  await self.clients.claim()
}

/** The page of the service, or the kept one if the service, or the proxy in front of it, has none. */
async function answerPage (request: Request) {
  const answer = await fetch(request).catch(() => undefined)
  if (answer !== undefined && answer.status < 500) return answer
  const cache = await caches.open(cacheName)
  return await cache.match(scope) ?? answer ?? Response.error()
}

async function answerFile (request: Request) {
  const cache = await caches.open(cacheName)
  const kept = await cache.match(request.url)
  if (kept !== undefined) return kept
  const answer = await fetch(request)
  if (answer.status === 200) await cache.put(request.url, answer.clone())
  return answer
}

async function showPage () {
  const [open] = await self.clients.matchAll({ type: 'window' })
  await (open === undefined ? self.clients.openWindow(scope) : open.focus())
}

export {}
