import type { Who } from '../lib/service.ts'
import { useEffect, useRef } from 'preact/hooks'
import { removeDraft } from '../lib/draft.ts'
import { endIntent } from '../lib/intent.ts'
import { attempt, dismissProblems } from '../lib/messages.ts'
import { usePage } from '../lib/page-module.ts'
import { useRoute } from '../lib/router.ts'
import { session } from '../lib/service.ts'
import { Sign } from './icon.tsx'
import { Messages } from './messages.tsx'
import { Navigation } from './navigation.tsx'
import { Loading, PageHead } from './page-head.tsx'
import { Shortcuts } from './shortcuts.tsx'
import { useJobsInTitle } from './telling.tsx'
import { Unreachable } from './unreachable.tsx'
import { common } from '../texts/en/common.ts'

/** The frame around all pages. */
export function Shell ({ who, onSignedOut }: { who: Who, onSignedOut: () => void }) {
  const route = useRoute()
  const main = useRef<HTMLElement>(null)
  const entered = useRef(false)
  const { page, view, error, retry } = usePage(route.name)
  const place = page?.keepsView ? route.name : `${route.name}/${route.id}`
  const isAllowed = page?.right === undefined || who.rights[page.right]
  const View = page === undefined ? NotFound : isAllowed ? view : NotAllowed
  const isThere = View !== undefined
  const mark = useJobsInTitle()

  useEffect(() => {
    if (entered.current) dismissProblems()
  }, [place])

  useEffect(() => {
    if (!isThere) return
    document.title = mark + common.titleOf(page?.title ?? common.notFound)
  }, [place, isThere, mark])

  useEffect(() => {
    if (!isThere) return
    // Screen readers read the first page from its beginning anyway.
    if (entered.current) main.current?.querySelector('h1')?.focus({ preventScroll: true })
    entered.current = true
  }, [place, isThere])

  // A browser leaves the page for a picture that is dropped where no page takes it.
  useEffect(() => {
    function stay (event: DragEvent) {
      if (event.defaultPrevented || !event.dataTransfer?.types.includes('Files')) return
      event.preventDefault()
      event.dataTransfer.dropEffect = 'none'
    }
    window.addEventListener('dragover', stay)
    window.addEventListener('drop', stay)
    return () => {
      window.removeEventListener('dragover', stay)
      window.removeEventListener('drop', stay)
    }
  }, [])

  async function signOut () {
    if (await attempt(() => session.end(), common.youAreSignedOut)) {
      removeDraft()
      endIntent()
      onSignedOut()
    }
  }

  return (
    <>
      <a class='skip' href='#main' onClick={event => { event.preventDefault(); main.current?.focus() }}>{common.skipToContent}</a>
      <header class='side'>
        <a class='brand' href='#/queue'><Sign size={28} />{common.stableQueue}</a>
        <Navigation route={route} who={who} onSignOut={signOut} />
      </header>
      <main id='main' ref={main} tabindex={-1}>
        <Unreachable />
        {View !== undefined
          ? <View key={place} route={route} />
          : (
            <><PageHead title={page?.title ?? ''} /><PageNotLoaded error={error} retry={retry} /></>
            )}
      </main>
      <Messages />
      <Shortcuts />
    </>
  )
}

function PageNotLoaded ({ error, retry }: { error: unknown, retry: () => void }) {
  if (error === null) return <Loading />
  return (
    <>
      <Loading error={error} sentence={common.pageNotFetched} />
      <p><button type='button' class='button' onClick={retry}>{common.tryAgain}</button></p>
    </>
  )
}

function NotAllowed () {
  return (
    <>
      <PageHead title={common.pageNotForKey} />
      <p>{common.pageNotForKeyHint(words => <a href='#/access'>{words}</a>)}</p>
    </>
  )
}

function NotFound () {
  return (
    <><PageHead title={common.noSuchPage} /><p><a href='#/queue'>{common.goToQueue}</a></p></>
  )
}
