import type { Who } from './lib/service.ts'
import { addressOf, forbidden, signedOut } from './lib/api.ts'
import { useEffect, useState } from 'preact/hooks'
import { render } from 'preact'
import { connectEarly, disconnect } from './lib/events.ts'
import { keepPlaces } from './lib/place.ts'
import { session } from './lib/service.ts'
import { registerServiceWorker } from './lib/service-worker.ts'
import { takeToken } from './lib/token.ts'
import { Caller } from './lib/caller.ts'
import { Shell } from './parts/shell.tsx'
import { TokenPage } from './pages/token.tsx'

/** How often a visible page asks whether its rights have changed, in milliseconds. */
const betweenLooks = 30_000

/** Tells the other tabs that the session has ended here. */
const otherTabs = new window.BroadcastChannel(`stablequeue ${addressOf('/')}`)

/** What the pages depend on; the usage of a person changes all the time. */
const meaningOf = ({ usage, ...who }: Who) => JSON.stringify(who)

/** Shows the pages to users with a session, and asks others for the token. */
function App ({ problem }: { problem: string }) {
  const [who, setWho] = useState<Who | Error | undefined>(undefined)

  async function checkSession () {
    try {
      const [known] = await Promise.all([session.read(), connectEarly()])
      // The dashboard sends users without a session here.
      if (window.location.hash === '#/dashboard') window.location.replace(addressOf('/dashboard'))
      else setWho(known)
    } catch (error) {
      setWho(error instanceof Error ? error : new Error(String(error)))
    }
  }

  /** Takes over changed rights; without an answer everything stays as it is. */
  async function look () {
    if (document.hidden) return
    const known = await session.read().catch(() => null)
    if (known === null) return
    setWho(before => {
      const isSame = before === undefined || before instanceof Error || meaningOf(before) === meaningOf(known)
      return isSame ? before : known
    })
  }

  function onSignOut () {
    otherTabs.postMessage(signedOut)
    disconnect()
    checkSession()
  }

  useEffect(() => {
    const onSignedOut = () => { checkSession() }
    const onOtherTab = () => {
      disconnect()
      checkSession()
    }
    checkSession()
    const timer = setInterval(look, betweenLooks)
    window.addEventListener(signedOut, onSignedOut)
    window.addEventListener(forbidden, look)
    document.addEventListener('visibilitychange', look)
    otherTabs.addEventListener('message', onOtherTab)
    return () => {
      clearInterval(timer)
      window.removeEventListener(signedOut, onSignedOut)
      window.removeEventListener(forbidden, look)
      document.removeEventListener('visibilitychange', look)
      otherTabs.removeEventListener('message', onOtherTab)
    }
  }, [])

  if (who === undefined) return null
  if (!(who instanceof Error)) return <Caller.Provider value={who}><Shell who={who} onSignedOut={onSignOut} /></Caller.Provider>
  return <TokenPage refusal={who} problem={problem} onSignedIn={checkSession} />
}

const root = document.getElementById('app')
const problem = await takeToken()
keepPlaces()
root?.replaceChildren()
if (root !== null) render(<App problem={problem} />, root)
registerServiceWorker()
