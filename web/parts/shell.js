import { html, useEffect, useRef } from '../lib/html.js'
import { attempt, dismiss, useMessages } from '../lib/messages.js'
import { useRoute } from '../lib/router.js'
import { session } from '../lib/service.js'
import { CreatePage } from '../pages/create.js'
import { JobPage } from '../pages/job.js'
import { KeysPage } from '../pages/keys.js'
import { QueuePage } from '../pages/queue.js'
import { ServersPage } from '../pages/servers.js'
import { Icon } from './icon.js'
import { PageHead } from './page-head.js'

const pages = {
  queue: { title: 'Queue', view: QueuePage, icon: 'queue' },
  create: { title: 'Create', view: CreatePage, icon: 'create' },
  servers: { title: 'Servers', view: ServersPage, icon: 'server' },
  keys: { title: 'API keys', view: KeysPage, icon: 'key' },
  job: { title: 'Job', view: JobPage }
}

const navigation = Object.entries(pages).filter(([, { icon }]) => icon !== undefined)

function NotFound () {
  return html`<${PageHead} title="There is no such page" /><p><a href="#/queue">Go to the queue</a></p>`
}

/** What is the same on all pages, around the one that the address names. */
export function Shell ({ who, onSignedOut }) {
  const route = useRoute()
  const main = useRef(null)
  const entered = useRef(false)
  const page = pages[route.name]
  const place = `${route.name}/${route.id}`

  useEffect(() => {
    document.title = `${page?.title ?? 'Not found'} – StableQueue`
    // The first page is read from its beginning anyway.
    if (entered.current) {
      main.current.querySelector('h1')?.focus({ preventScroll: true })
      window.scrollTo(0, 0)
    }
    entered.current = true
  }, [place])

  async function signOut () {
    if (await attempt(() => session.end(), 'You are signed out.')) onSignedOut()
  }

  return html`
    <a class="skip" href="#main" onClick=${event => { event.preventDefault(); main.current.focus() }}>Skip to the content</a>
    <header class="top">
      <a class="brand" href="#/queue"><img src="/ui/icon.svg" alt="" width="28" height="28" />StableQueue</a>
      <nav aria-label="Pages" class="pages">
        ${navigation.map(([name, { title, icon }]) => html`
          <a key=${name} href="#/${name}" aria-current=${route.name === name ? 'page' : undefined}>
            <${Icon} name=${icon} /><span>${title}</span>
          </a>`)}
      </nav>
      <div class="more">
        <a href="/docs">API docs</a>
        <a href="/dashboard">Dashboard</a>
        ${who.kind === 'session' && html`<button type="button" class="button quiet" onClick=${signOut}>Sign out</button>`}
      </div>
    </header>
    <main id="main" ref=${main} tabindex="-1">
      <${page?.view ?? NotFound} key=${place} route=${route} />
    </main>
    <${Messages} />`
}

function Messages () {
  const messages = useMessages()
  return html`
    <div class="messages">
      ${['news', 'problem'].map(kind => html`
        <div key=${kind} role=${kind === 'news' ? 'status' : 'alert'}>
          ${messages.filter(message => message.kind === kind).map(({ id, text }) => html`
            <p key=${id} class="message ${kind}">
              <span>${text}</span>
              <button type="button" class="button quiet icon-only" aria-label="Dismiss" onClick=${() => dismiss(id)}>
                <${Icon} name="close" />
              </button>
            </p>`)}
        </div>`)}
    </div>`
}
