import { addressOf } from '../lib/api.js'
import { html, useEffect, useRef } from '../lib/html.js'
import { attempt, dismissProblems } from '../lib/messages.js'
import { usePage } from '../lib/page-module.js'
import { useRoute } from '../lib/router.js'
import { session } from '../lib/service.js'
import { Messages } from './messages.js'
import { Navigation } from './navigation.js'
import { Loading, PageHead } from './page-head.js'
import { Unreachable } from './unreachable.js'

/** The frame around all pages. */
export function Shell ({ who, onSignedOut }) {
  const route = useRoute()
  const main = useRef(null)
  const entered = useRef(false)
  const { page, view, error, retry } = usePage(route.name)
  const place = `${route.name}/${route.id}`
  const isThere = page === undefined || view !== undefined

  useEffect(() => {
    if (entered.current) dismissProblems()
  }, [place])

  useEffect(() => {
    if (!isThere) return
    document.title = `${page?.title ?? 'Not found'} – StableQueue`
    // Screen readers read the first page from its beginning anyway.
    if (entered.current) {
      main.current.querySelector('h1')?.focus({ preventScroll: true })
      window.scrollTo(0, 0)
    }
    entered.current = true
  }, [place, isThere])

  async function signOut () {
    if (await attempt(() => session.end(), 'You are signed out.')) onSignedOut()
  }

  return html`
    <a class="skip" href="#main" onClick=${event => { event.preventDefault(); main.current.focus() }}>Skip to the content</a>
    <header class="side">
      <a class="brand" href="#/queue"><img src=${addressOf('/ui/icon.svg')} alt="" width="28" height="28" />StableQueue</a>
      <${Navigation} route=${route} who=${who} onSignOut=${signOut} />
    </header>
    <main id="main" ref=${main} tabindex="-1">
      <${Unreachable} />
      ${isThere
        ? html`<${page === undefined ? NotFound : view} key=${place} route=${route} />`
        : html`<${PageHead} title=${page.title} /><${PageNotLoaded} error=${error} retry=${retry} />`}
    </main>
    <${Messages} />`
}

function PageNotLoaded ({ error, retry }) {
  if (error === null) return html`<${Loading} />`
  return html`
    <${Loading} error=${error} sentence="This page could not be fetched. The service may be restarting." />
    <p><button type="button" class="button" onClick=${retry}>Try again</button></p>`
}

function NotFound () {
  return html`<${PageHead} title="There is no such page" /><p><a href="#/queue">Go to the queue</a></p>`
}
