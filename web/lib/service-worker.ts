import { addressOf } from './api.ts'

/** When the page asks for it, in milliseconds after its start, so that it delays nothing. */
const patience = 1500

/** Browsers have it only for secure pages: over https, or on this machine. */
const container = 'serviceWorker' in navigator ? navigator.serviceWorker : undefined

interface TrustedTypes {
  createPolicy (name: string, rules: { createScriptURL: (address: string) => string }): {
    createScriptURL (address: string): string
  }
}

/** Registers the service worker, which starts the installed app without the service. */
export function registerServiceWorker () {
  if (container === undefined) return
  const { trustedTypes } = window as { trustedTypes?: TrustedTypes }
  const address = addressOf('/ui/service-worker.js')
  const trusted = trustedTypes?.createPolicy('service-worker', { createScriptURL: text => text }).createScriptURL(address)
  const register = async () => { await container.register(trusted ?? address, { scope: addressOf('/') }) }
  // Without it everything works but the start without the service.
  setTimeout(() => { register().catch(() => {}) }, patience)
}

/** Shows a notification where pages cannot: on phones. Without a service worker there is none. */
export async function notifyByWorker (title: string, options: NotificationOptions) {
  const registration = await container?.getRegistration(addressOf('/'))
  await registration?.showNotification(title, options)
}
